#!/usr/bin/env bash
# How fast all of it is, devices to whole commands: now, and on commit 13682da (--before)
# Training: none: speed only
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/speed}"
before="${2:-../before}"
mkdir -p "$out"
[ -d "$before" ] || git worktree add --detach "$before" 13682da
python -m benchmarks.devices --before "$before" --out "$out/devices.csv"
python -m benchmarks.cloud --out "$out/cloud.csv"
python -m benchmarks.busy --out "$out/busy.csv"
python -m benchmarks.loading --repeats 3 --out "$out/loading.csv"
python -m benchmarks.training --out "$out/training.csv"
python -m benchmarks.training --before "$before" --out "$out/training-before.csv"
python -m benchmarks.quality --threads 1 --out "$out/quality.csv"
python -m benchmarks.jobs --before "$before" --out "$out/jobs.csv"
