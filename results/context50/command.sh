#!/usr/bin/env bash
# DeviceRec that reads 50 items at every prediction, the cloud trains on all users' histories, one seed
# Training: older: DUET+ began with DeviceRec's network, at half the learning rate
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/context50}"
python -m sim.run --devices 1000 --dataset ml1m --cloud-users all --context 50 --methods devicerec --out "$out"
python -m sim.run --devices 1000 --dataset ml1m --cloud-users all \
    --methods devicerec,duet-plus,forward-ofa-plus --out "$out-all-users"
python -m analysis.compare "$out-all-users" "$out" --out "$out-compared"
