"""Train the cloud models of a run and nothing else: `python -m sim.train`, with the options of `sim.run`.

The models go to the cache, so that the run itself trains nothing.
"""

import sys

from sim.config import Config
from sim.run import cli


def main(config: Config) -> None:
    """Train what the methods of this configuration deploy."""
    from sim.experiment import describe, prepare, tell_data
    from sim.observers.progress import Display
    from sim.trainings import train_all

    run, world = prepare(config)
    display = Display(quiet=config.quiet)
    tell_data(world, display)
    with run.held(), display.open(describe(config), phases=1 if config.retrain is None else 2):
        train_all(config, run, world, display)
    display.say(f"trained models: {run.models}")


if __name__ == "__main__":
    sys.exit(cli(main, "Train the cloud models of a run, and nothing else."))
