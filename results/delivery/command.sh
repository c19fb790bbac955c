#!/usr/bin/env bash
# How a network comes to its device: weights, a code of 32, 16 or 8 bits, or made by the device itself
# Training: older: DUET+ began with DeviceRec's network, at half the learning rate
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/delivery}"
python -m sim.run --devices 1000 --dataset ml1m --methods devicerec,duet-plus,forward-ofa-plus --references none \
    --uploads --delivery weights --delivery code --delivery local \
    --code-bits 32 --code-bits 16 --code-bits 8 --out "$out"
python -m analysis.privacy "$out/weights" "$out/code-32" "$out/code-16" "$out/code-8" --out "$out/privacy"
python -m analysis.compare "$out/weights" "$out/code-32" "$out/code-16" "$out/code-8" "$out/local" \
    --out "$out/comparison"
