"""Which blocks devices choose: a small run of Forward-OFA, and its histogram.

    python examples/block_usage.py [any option of sim.run]

The run's folder holds the same as a picture: figures/block_usage.png.
"""

import sys

import analysis
from sim.config import Config
from sim.run import cli, main


def histogram(config: Config) -> None:
    """Play, and count from the rows how often each block ran."""
    main(config)
    rows = analysis.load(config.folder).sessions
    for method, mine in rows[rows["served"]].groupby("method"):
        print(f"\n{method}: share of {len(mine):,} device-sessions that run each block")
        paths = mine["path"].to_numpy()
        for block in range(config.resolved_blocks):
            share = (paths >> block & 1).mean()
            print(f"block {block + 1:2d}  {'█' * round(40 * share):40s} {100 * share:5.1f} %")
    print(f"\nas a picture: {config.folder / 'figures' / 'block_usage.png'}")


if __name__ == "__main__":
    sys.exit(cli(histogram, str(__doc__), default=Config(methods="forward-ofa", devices=100)))
