#!/usr/bin/env bash
# DeviceRec at half the learning rate, three seeds
# Training: as now
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/half-rate}"
python -m sim.run --devices 1000 --dataset ml1m --seeds 3 --learning-rate 0.0025 --methods devicerec \
    --candidates all --out "$out"
