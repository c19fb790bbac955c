#!/usr/bin/env bash
# The cloud trains on all users' histories: DeviceRec, DUET+, Forward-OFA+ and the references, three seeds
# Training: older: DUET+ began with DeviceRec's network, at half the learning rate
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/all-users}"
python -m sim.run --devices 1000 --dataset ml1m --cloud-users all --seeds 3 \
    --methods devicerec,duet-plus,forward-ofa-plus --out "$out"
python -m replay.structure "$out" --method forward-ofa-plus
python -m replay.ceiling "$out" --seed 0 --devices 300 --sample 60
