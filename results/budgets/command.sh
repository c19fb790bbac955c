#!/usr/bin/env bash
# One Forward-OFA+ at every budget of blocks, against a DeviceRec trained for each
# Training: older: whole targets (--spread 0), and DUET+ and Forward-OFA+ were trained longer
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/budgets}"
python -m benchmarks.budgets --dataset ml1m --devices 1000 --out "$out"
