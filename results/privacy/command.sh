#!/usr/bin/env bash
# What requests give away: three attackers on every request of Forward-OFA+'s devices, without a defence and with seven
# Training: older: DUET+ began with DeviceRec's network, and linear layers were multiplied in single precision
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/privacy}"
python -m sim.run --devices 1000 --dataset ml1m --methods forward-ofa-plus --references none --uploads \
    --out "$out/none"
python -m sim.run --devices 1000 --dataset ml1m --methods forward-ofa-plus --references none --uploads \
    --latent-bits 8 --out "$out/bits8"
python -m sim.run --devices 1000 --dataset ml1m --methods forward-ofa-plus --references none --uploads \
    --latent-bits 4 --out "$out/bits4"
python -m sim.run --devices 1000 --dataset ml1m --methods forward-ofa-plus --references none --uploads \
    --upload path --out "$out/path"
python -m sim.run --devices 1000 --dataset ml1m --methods forward-ofa-plus --references none --uploads \
    --latent-clip 2 --latent-noise 0.125 --out "$out/noise0.125"
python -m sim.run --devices 1000 --dataset ml1m --methods forward-ofa-plus --references none --uploads \
    --latent-clip 2 --latent-noise 0.5 --out "$out/noise0.5"
python -m sim.run --devices 1000 --dataset ml1m --methods forward-ofa-plus --references none --uploads \
    --latent-clip 2 --latent-noise 2 --out "$out/noise2"
python -m sim.run --devices 1000 --dataset ml1m --methods forward-ofa-plus --references none --uploads \
    --policy every:4 --out "$out/every4"
python -m analysis.privacy "$out/none" "$out/bits8" "$out/bits4" "$out/path" \
    "$out/noise0.125" "$out/noise0.5" "$out/noise2" "$out/every4" --out "$out"
