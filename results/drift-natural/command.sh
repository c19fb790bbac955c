#!/usr/bin/env bash
# When to ask: eight policies on streams as they are
# Training: older: DUET+ began with DeviceRec's network, at half the learning rate
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/drift-natural}"
python -m sim.run --devices 1000 --dataset ml1m --methods devicerec,finetune,duet,forward-ofa,forward-ofa-plus \
    --compare-stale --sessions 8 --policy always --policy never --policy random --policy every \
    --policy drift --policy page-hinkley --policy adwin --policy mrd --request-rate 0.3 --out "$out"
