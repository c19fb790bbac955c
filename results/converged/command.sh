#!/usr/bin/env bash
# DeviceRec, DUET+ and Forward-OFA+, three seeds
# Training: older: whole targets (--spread 0), and DUET+ and Forward-OFA+ were trained longer
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/converged}"
python -m sim.run --spread 0 --devices 1000 --dataset ml1m --seeds 3 --methods devicerec,duet-plus,forward-ofa-plus \
    --candidates all --out "$out"
python -m replay.structure "$out" --method forward-ofa-plus
