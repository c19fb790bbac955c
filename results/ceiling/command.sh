#!/usr/bin/env bash
# How much there is to gain on the generated world: one table of counts for all, and tables by type of user
# Training: older: a recipe of 60 epochs (--epochs 60 --learning-rate 0.005), and no kinds of users
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/ceiling}"
python -m sim.run --cloud-users simulated --epochs 60 --learning-rate 0.005 --spread 0.3 \
    --methods devicerec,finetune,duet,duet-plus,forward-ofa-plus --out "$out"
