#!/usr/bin/env bash
# Forward-OFA with the paper's lambda
# Training: as now
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/penalty}"
python -m sim.run --devices 1000 --dataset ml1m --penalty 0.005 --methods devicerec,forward-ofa \
    --candidates all --out "$out"
python -m replay.structure "$out" --method forward-ofa
