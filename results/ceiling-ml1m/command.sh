#!/usr/bin/env bash
# How much there is to gain on MovieLens-1M: networks that know the future, and other devices' networks
# Training: older: DUET+ began with DeviceRec's network, and linear layers were multiplied in single precision
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/ceiling-ml1m}"
python -m sim.run --devices 1000 --dataset ml1m --seeds 3 \
    --methods devicerec,duet-plus,forward-ofa-plus --out "$out"
python -m replay.ceiling "$out" --seed 0 --method duet-plus --method forward-ofa-plus \
    --devices 300 --sample 60 --out "$out"
