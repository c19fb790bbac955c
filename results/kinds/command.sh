#!/usr/bin/env bash
# Kinds of users teach the extractor: the generated world, the cloud trains on all 600 users, three seeds
# Training: older: a recipe of 60 epochs (--epochs 60 --learning-rate 0.005), and kinds were a method of their own
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/kinds}"
python -m sim.run --cloud-users all --seeds 3 --methods devicerec,duet-plus-no-kinds,duet-plus \
    --epochs 60 --learning-rate 0.005 --spread 0.3 --out "$out"
