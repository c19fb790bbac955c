#!/usr/bin/env bash
# When to ask: nine policies on streams as they are
# Training: older: whole targets (--spread 0), and DUET+ and Forward-OFA+ were trained longer
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/drift-natural}"
python -m sim.run --spread 0 --devices 1000 --dataset ml1m \
    --methods devicerec,finetune,duet,forward-ofa,forward-ofa-plus \
    --compare-stale --sessions 8 --policy always --policy never --policy oracle:1 --policy random --policy every \
    --policy drift --policy page-hinkley --policy adwin --policy mrd --request-rate 0.3 --candidates all --out "$out"
