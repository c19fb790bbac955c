#!/usr/bin/env bash
# The paper's Tables 5 and 6: counts of modules and data sets
# Training: none: counts only
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/reproduce}"
python -m analysis.reproduce table5 table6 --dataset ml1m --out "$out"
