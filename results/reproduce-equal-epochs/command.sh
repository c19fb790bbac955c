#!/usr/bin/env bash
# The paper's tables on SASRec, 200 users, 8 epochs for every method
# Training: the paper's equal epochs
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/reproduce-equal-epochs}"
python -m analysis.reproduce table1 table2 table3 table4 table7 table8 figure4 figure6 figure7 --dataset ml1m \
    --backbone sasrec --devices 200 --epochs 8 --seeds 2 --out "$out"
python -m analysis.reproduce figure5 --dataset ml1m --backbone sasrec --devices 200 --epochs 8 \
    --penalties 0.0,0.001,0.005,0.05 --seeds 2 --out "$out"
