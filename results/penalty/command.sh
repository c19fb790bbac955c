#!/usr/bin/env bash
# Forward-OFA with the paper's lambda
# Training: older: whole targets (--spread 0), and DUET+ and Forward-OFA+ were trained longer
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/penalty}"
python -m sim.run --spread 0 --devices 1000 --dataset ml1m --penalty 0.005 --methods devicerec,forward-ofa \
    --candidates all --out "$out"
python -m replay.structure "$out" --method forward-ofa
