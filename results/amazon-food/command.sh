#!/usr/bin/env bash
# Six methods on Amazon Food (2014 release, 5-core extract)
# Training: as now
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/amazon-food}"
python -m sim.run --dataset amazon-food --devices 1000 \
    --methods devicerec,finetune,duet,forward-ofa,duet-plus,forward-ofa-plus --candidates all --out "$out"
