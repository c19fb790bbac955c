#!/usr/bin/env bash
# After an abrupt and a gradual change of interest, all users' histories, three seeds; devices told when to forget
# Training: older: DUET+ began with DeviceRec's network, at half the learning rate
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/changes}"
python -m sim.run --devices 1000 --dataset ml1m --cloud-users all --seeds 3 --drift abrupt --drift gradual \
    --methods devicerec,duet-plus,forward-ofa-plus --out "$out"
python -m replay.ceiling "$out/abrupt" --sample 20
