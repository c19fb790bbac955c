#!/usr/bin/env bash
# How much there is to gain on the generated world: one table of counts for all, and tables by type of user
# Training: as now
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/ceiling}"
python -m sim.run --methods devicerec,finetune,duet,duet-plus,forward-ofa-plus --out "$out"
