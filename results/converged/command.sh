#!/usr/bin/env bash
# DeviceRec, DUET+ and Forward-OFA+, three seeds
# Training: as now
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/converged}"
python -m sim.run --devices 1000 --dataset ml1m --seeds 3 --methods devicerec,duet-plus,forward-ofa-plus \
    --candidates all --out "$out"
python -m replay.structure "$out" --method forward-ofa-plus
