#!/usr/bin/env bash
# How much there is to gain: networks that know the future, and tables by type of user on the generated world
# Training: as now
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/ceiling}"
python -m sim.run --devices 1000 --dataset ml1m \
    --methods devicerec,duet-plus,forward-ofa-plus --out "$out/ml1m"
python -m replay.ceiling "$out/ml1m" --devices 300 --sample 60
python -m sim.run --methods devicerec,duet,duet-plus,forward-ofa-plus --out "$out/generated"
