#!/usr/bin/env bash
# Six methods on Amazon Game (2014 release, 5-core extract)
# Training: older: whole targets (--spread 0), and DUET+ and Forward-OFA+ were trained longer
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/amazon-game}"
python -m sim.run --spread 0 --dataset amazon-game --devices 1000 \
    --methods devicerec,finetune,duet,forward-ofa,duet-plus,forward-ofa-plus --candidates all --out "$out"
