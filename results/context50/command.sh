#!/usr/bin/env bash
# DeviceRec that reads 50 items, three seeds
# Training: as now
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/context50}"
python -m sim.run --devices 1000 --dataset ml1m --seeds 3 --context 50 --methods devicerec --candidates all --out "$out"
