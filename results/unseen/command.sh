#!/usr/bin/env bash
# Only items that a device has not seen are candidates: DeviceRec, Finetune, DUET+ and the references, one seed
# Training: older: whole targets (--spread 0), and DUET+ and Forward-OFA+ were trained longer
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/unseen}"
python -m sim.run --spread 0 --devices 1000 --dataset ml1m --methods devicerec,finetune,duet-plus --out "$out"
