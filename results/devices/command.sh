#!/usr/bin/env bash
# Six methods on two mixes of six kinds of phone
# Training: older: whole targets (--spread 0), and DUET+ and Forward-OFA+ were trained longer
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/devices}"
python -m sim.run --spread 0 --devices 1000 --dataset ml1m \
    --methods devicerec,finetune,duet,forward-ofa,duet-plus,forward-ofa-plus --scenario phones \
    --scenario phones-weaker --candidates all --out "$out"
