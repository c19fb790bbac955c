"""Devices that differ: a mix of strong and weak devices, and who can be served with what.

    python examples/resource_heterogeneity.py [any option of sim.run]

The mix is strong-and-weak.toml beside this file: a weak device can afford about half of the backbone.
"""

import sys
from pathlib import Path

import analysis
from sim.config import Config
from sim.run import cli, main

MIX = Path(__file__).with_name("strong-and-weak.toml")


def by_tier(config: Config) -> None:
    """Play, and print quality, blocks and served share of each kind of device."""
    main(config)
    rows = analysis.load(config.folder).sessions
    sums = rows.groupby(["method", "tier"], sort=False).agg(
        ndcg=("ndcg", "sum"), events=("events", "sum"), blocks=("blocks", "mean"), served=("served", "mean")
    )
    sums["ndcg@10"] = sums["ndcg"] / sums["events"]
    print(f"\n{sums[['ndcg@10', 'blocks', 'served']].round(4)}")


if __name__ == "__main__":
    default = Config(methods="devicerec,duet,forward-ofa", devices=100, scenario=str(MIX))
    sys.exit(cli(by_tier, str(__doc__), default=default))
