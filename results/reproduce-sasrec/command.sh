#!/usr/bin/env bash
# The paper's tables on SASRec, 300 users, early stopping
# Training: older: the extractors' first weights depended on what the process had trained before
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/reproduce-sasrec}"
python -m analysis.reproduce table1 table2 table3 table4 table7 figure4 figure6 --dataset ml1m --backbone sasrec \
    --devices 300 --protocol tuned --epochs 30 --seeds 2 --out "$out"
