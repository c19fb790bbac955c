#!/usr/bin/env bash
# A network of 8-bit integers as an ONNX file: beside the one in single precision, checked on 1,000 sessions and timed
# Training: as now
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/onnx}"
python -m sim.run --devices 1000 --dataset ml1m --methods devicerec --references none --out "$out"
python -m replay.export "$out" --method devicerec --device 17 --bits 8 --check 1000 --out "$out/export"
