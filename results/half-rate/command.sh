#!/usr/bin/env bash
# DeviceRec at half the learning rate, three seeds
# Training: older: whole targets (--spread 0), and DUET+ and Forward-OFA+ were trained longer
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/half-rate}"
python -m sim.run --spread 0 --devices 1000 --dataset ml1m --seeds 3 --learning-rate 0.0025 --methods devicerec \
    --candidates all --out "$out"
