#!/usr/bin/env bash
# How soon a device may ask again: sessions of at most 10, 3 and 1 interactions; generated world and MovieLens-1M
# Training: older with all users: DUET+ began with DeviceRec's network, at half the learning rate
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/lengths}"
python -m sim.run --methods devicerec,forward-ofa-plus \
    --session-length 10 --session-length 3 --session-length 1 --out "$out/generated"
python -m sim.run --devices 1000 --dataset ml1m --drift natural --drift abrupt \
    --session-length 10 --session-length 3 --methods devicerec,forward-ofa-plus --out "$out/ml1m"
python -m sim.run --devices 1000 --dataset ml1m --cloud-users all \
    --session-length 10 --session-length 3 --methods devicerec,forward-ofa-plus --out "$out/all-users"
