#!/usr/bin/env bash
# What a run without options shows: four methods of the paper and Forward-OFA+ on the generated world
# Training: as now
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/first-run}"
python -m sim.run --out "$out"
