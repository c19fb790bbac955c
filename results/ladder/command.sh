#!/usr/bin/env bash
# A DeviceRec of every size, each device with the largest that it can run, against one Forward-OFA+
# Training: older: whole targets (--spread 0), and DUET+ and Forward-OFA+ were trained longer
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/ladder}"
python -m benchmarks.ladder --dataset ml1m --devices 1000 --out "$out"
