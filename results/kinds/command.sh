#!/usr/bin/env bash
# Kinds of users teach the extractor: the generated world, the cloud trains on all 600 users, three seeds
# Training: as now
set -euo pipefail
cd "$(dirname "$0")/../.."
out="${1:-runs/kinds}"
python -m sim.run --cloud-users all --seeds 3 --methods devicerec,duet-plus,duet-kinds --out "$out"
