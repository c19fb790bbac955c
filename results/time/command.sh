#!/usr/bin/env bash
# One instant divides training and play: DeviceRec, DUET+ and the references, one seed
# Training: as now
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/time}"
python -m sim.run --devices 1000 --dataset ml1m --split time --methods devicerec,duet-plus --out "$out"
