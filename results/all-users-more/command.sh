#!/usr/bin/env bash
# All users' histories, one seed: the paper's DUET, Finetune, and DUET+ without a warm start beside the others
# Training: as now
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/all-users-more}"
python -m sim.run --devices 1000 --dataset ml1m --cloud-users all --out "$out" \
    --methods devicerec,finetune,duet,duet-plus-cold,duet-plus,forward-ofa-plus
