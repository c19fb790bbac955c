#!/usr/bin/env bash
# One instant divides training and play: DeviceRec, DUET+ and the references, one seed
# Training: older: DUET+ began with DeviceRec's network, at half the learning rate
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/time}"
python -m sim.run --devices 1000 --dataset ml1m --split time --methods devicerec,duet-plus --out "$out"
