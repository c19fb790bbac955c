"""The main command.

python -m sim.run                                    # the embedded data set, needs no download
python -m sim.run --devices 1000 --dataset ml1m      # MovieLens-1M
"""

import sys
from collections.abc import Callable

import tyro
from rich.console import Console

import analysis
from sim.config import Config
from sim.errors import UserError
from sim.experiment import prepare


def main(config: Config) -> None:
    """Run, then print the table."""
    from sim.backends import run_apps

    run, _ = prepare(config)
    run_apps(
        config.backend,
        "sim.server:app",
        "clients.app:app",
        num_devices=config.devices,
        run_config=config.to_flat(),
        seed=config.seed,
        log_file=run.log,
    )
    Console().print(analysis.terminal_table(analysis.load(run.path)))


def cli(command: Callable[[Config], None], description: str) -> int:
    """Parse the options and run ``command``; the exit status: 0 done, 2 for what the user can mend, 130 interrupted."""
    config = tyro.cli(Config, description=description, config=(tyro.conf.AvoidSubcommands,))
    try:
        config = config.check().absolute()
        command(config)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; the same command continues {config.folder}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(cli(main, str(Config.__doc__)))
