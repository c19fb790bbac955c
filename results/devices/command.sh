#!/usr/bin/env bash
# Six methods and the references on two mixes of six kinds of phone
# Training: older: DUET+ began with DeviceRec's network, at half the learning rate
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/devices}"
python -m sim.run --devices 1000 --dataset ml1m \
    --methods devicerec,finetune,duet,forward-ofa,duet-plus,forward-ofa-plus --scenario phones \
    --scenario phones-weaker --out "$out"
