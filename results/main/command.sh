#!/usr/bin/env bash
# Six methods on the same 1,000 devices, and what the choice of blocks is worth
# Training: older: whole targets (--spread 0), and DUET+ and Forward-OFA+ were trained longer
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/main}"
python -m sim.run --spread 0 --devices 1000 --dataset ml1m \
    --methods devicerec,finetune,duet,forward-ofa,duet-plus,forward-ofa-plus --candidates all --out "$out"
python -m replay.structure "$out" --method forward-ofa
python -m replay.structure "$out" --method forward-ofa-plus
