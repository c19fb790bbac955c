#!/usr/bin/env bash
# How fast the methods train on MovieLens-1M (in $SIM_DATA_DIR), beside RecBole's SASRec
# Training: none: speed only
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/training-benchmark.csv}"
python -m benchmarks.training --rounds 2 --seconds 1 --out "$out"
