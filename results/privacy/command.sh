#!/usr/bin/env bash
# What requests give away: three attackers on every request of Forward-OFA+'s devices, one seed of the run
# Training: as now, but for rounding: linear layers were multiplied in single precision
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/privacy}"
python -m sim.run --devices 1000 --dataset ml1m --methods forward-ofa-plus --references none --uploads \
    --out "$out"
python -m analysis.privacy "$out"
