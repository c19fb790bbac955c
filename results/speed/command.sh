#!/usr/bin/env bash
# How fast commands run, devices play, networks are made, models train and files load, beside commit 13682da and others
# Training: none: speed only
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/speed}"
before="${2:-../before}"
mkdir -p "$out"
[ -d "$before" ] || git worktree add --detach "$before" 13682da
python -m benchmarks.jobs --before "$before" --warm 1 --out "$out/jobs.csv"
python -m benchmarks.devices --sizes 1000,10000 --before "$before" --out "$out/devices.csv"
python -m benchmarks.devices --sizes 100000,1000000 --methods devicerec --repeats 1 --ray 0 --pfl 0 \
    --out "$out/large.csv"
python -m benchmarks.busy --out "$out/busy.csv"
python -m benchmarks.cloud --out "$out/cloud.csv"
python -m benchmarks.training --before "$before" --out "$out/training-before.csv"
python -m benchmarks.training --out "$out/training.csv"
python -m benchmarks.loading --repeats 1 --out "$out/loading.csv"
