#!/usr/bin/env bash
# DeviceRec that reads 50 items, three seeds
# Training: older: whole targets (--spread 0), and DUET+ and Forward-OFA+ were trained longer
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/context50}"
python -m sim.run --spread 0 --devices 1000 --dataset ml1m \
    --seeds 3 --context 50 --methods devicerec --candidates all --out "$out"
