#!/usr/bin/env bash
# When to ask: five policies under an abrupt change of interest
# Training: older: DUET+ began with DeviceRec's network, at half the learning rate
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/asking}"
python -m sim.run --devices 1000 --dataset ml1m --methods devicerec,forward-ofa-plus --compare-stale --sessions 8 \
    --drift abrupt --policy always --policy never --policy oracle:1 --policy random --policy drift \
    --request-rate 0.3 --out "$out"
