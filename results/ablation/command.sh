#!/usr/bin/env bash
# DUET+ without dropout or interest, and with a warm start, of low and of full rank; DUET and Forward-OFA+ beside them
# Training: as now
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/ablation}"
python -m sim.run --devices 1000 --dataset ml1m --references none --out "$out" --methods \
    devicerec,duet,duet-plus-warm,duet-warm,duet-plus-no-dropout,duet-plus-shared,duet-plus,forward-ofa-plus
