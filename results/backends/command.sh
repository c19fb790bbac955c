#!/usr/bin/env bash
# How fast messages are exchanged on each backend: now, and on commit 13682da (--before) with a node for each device
# Training: none: speed only
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/backends}"
before="${2:-../before}"
[ -d "$before" ] || git worktree add --detach "$before" 13682da
python -m benchmarks.backends --before "$before" --backends inprocess ray --repeats 2 --out "$out/backends.csv"
python -m benchmarks.backends --backends deployment --devices 1000 --supernodes 4 --rounds 1 --out "$out/backends.csv"
