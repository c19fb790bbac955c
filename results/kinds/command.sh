#!/usr/bin/env bash
# What finds a kind and notices a change: DUET+ without interest, without kinds, whole; Forward-OFA+; three seeds
# Training: as now
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/kinds}"
python -m sim.run --seeds 3 \
    --methods devicerec,duet-plus-shared,duet-plus-no-kinds,duet-plus,forward-ofa-plus --out "$out"
