#!/usr/bin/env bash
# One phone that computes in 32, 16 and 8 bits: DeviceRec, DUET+, Forward-OFA+, DIET and CHORD
# Training: older: DUET+ began with DeviceRec's network, at half the learning rate
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/quantised}"
python -m sim.run --devices 1000 --dataset ml1m \
    --methods devicerec,duet-plus,forward-ofa-plus,diet,chord --references popular \
    --scenario paper-device --scenario paper-device-fp16 --scenario paper-device-int8 --out "$out"
