#!/usr/bin/env bash
# All users' histories, one seed: the paper's DUET, Finetune, and today's DUET+
# Training: as now
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/all-users-more}"
python -m sim.run --devices 1000 --dataset ml1m --cloud-users all \
    --methods devicerec,finetune,duet,duet-plus --out "$out"
