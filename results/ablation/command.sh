#!/usr/bin/env bash
# DUET+ without warm start, low rank, dropout or interest; the first of these with two seeds, too
# Training: as now
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/ablation}"
python -m sim.run --devices 1000 --dataset ml1m --references none --out "$out" --methods \
    devicerec,duet,duet-plus-cold,duet-warm,duet-plus-no-dropout,duet-plus-shared,duet-plus,forward-ofa-plus
python -m sim.run --devices 1000 --dataset ml1m --references none --seeds 2 --out "$out-two-seeds" \
    --methods devicerec,duet-plus,forward-ofa-plus,duet-plus-cold
