#!/usr/bin/env bash
# Only unseen items are candidates: DeviceRec, DUET+, Forward-OFA+ and the references, three seeds
# Training: as now, but for rounding: linear layers were multiplied in single precision
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/seeds}"
python -m sim.run --devices 1000 --dataset ml1m --seeds 3 \
    --methods devicerec,duet-plus,forward-ofa-plus --out "$out"
