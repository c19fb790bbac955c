#!/usr/bin/env bash
# One Forward-OFA+ at every budget of blocks, against a DeviceRec trained for each
# Training: as now
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/budgets}"
python -m benchmarks.budgets --dataset ml1m --devices 1000 --out "$out"
