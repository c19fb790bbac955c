#!/usr/bin/env bash
# Six methods and the references, three seeds, only what a device has not seen, and what the choice of blocks is worth
# Training: as now
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/six}"
python -m sim.run --devices 1000 --dataset ml1m --seeds 3 \
    --methods devicerec,finetune,duet,forward-ofa,duet-plus,forward-ofa-plus --out "$out"
python -m replay.structure "$out" --method forward-ofa
python -m replay.structure "$out" --method forward-ofa-plus
