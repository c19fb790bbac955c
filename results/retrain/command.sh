#!/usr/bin/env bash
# A cloud that trains again every 90 days, one instant dividing training and play; beside the same without
# Training: older: DUET+ began with DeviceRec's network, at half the learning rate
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/retrain}"
python -m sim.run --devices 1000 --dataset ml1m --split time --retrain 90 --methods devicerec,duet-plus --out "$out"
python -m sim.run --devices 1000 --dataset ml1m --split time --methods devicerec,duet-plus --out "$out-without"
python -m analysis.compare "$out-without" "$out" --out "$out-compared"
