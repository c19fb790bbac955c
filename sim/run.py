"""The main command.

python -m sim.run                                    # the embedded data set, needs no download
python -m sim.run --devices 1000 --dataset ml1m      # MovieLens-1M
python -m sim.run --scenario phones --scenario mine.toml    # one run for each device mix, and a comparison of them
python -m sim.run --drift abrupt --drift gradual --policy random --policy mrd --request-rate 0.1 --request-rate 0.3

What takes seconds to import (PyTorch, Flower, pandas, matplotlib) is imported by the functions that use it, so that
``--help`` and a mistake in an option are answered at once.
"""

import io
import shlex
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from core.cli import MISTAKE
from core.cli import run as run_command
from core.errors import UserError
from sim.config import Config
from sim.sweep import borrow, split

if TYPE_CHECKING:
    from core.run_folder import RunFolder
    from sim.data.interactions import Interactions
    from sim.experiment import World


def main(config: Config, earlier: Sequence[Config] = (), interactions: "Interactions | None" = None) -> None:
    """Run, then print the table; ``earlier`` are finished runs of the same sweep, and ``interactions`` its data."""
    import analysis
    from analysis.tables import show
    from sim.experiment import prepare

    if config.superlink is not None:
        _play_elsewhere(config.check(), config.superlink)
        return
    run, world = prepare(config, interactions)
    with run.held():
        _play(run, world, config, earlier)
    show(analysis.terminal_table(analysis.load(run.path)))


def _play(run: "RunFolder", world: "World", config: Config, earlier: Sequence[Config]) -> None:
    from sim.backends.launch import run_apps
    from sim.experiment import tell_data
    from sim.observers.progress import Display
    from sim.server import server_app

    borrow(run, config, earlier)
    separate = config.backend == "deployment"
    if separate:  # the cloud is another process, and this one shows nothing of it
        display = Display(quiet=config.quiet)
        tell_data(world, display)
        display.say(f"the SuperLink and its SuperNodes write their progress to {run.log}")
    run_apps(
        config.backend,
        "sim.server:app" if separate else server_app((run, world)),
        "clients.app:app",
        num_nodes=config.nodes or 0,
        run_config=replace(config, supernodes=config.nodes).to_flat(),
        seed=config.seed,
        log_file=run.log,
        device_dir=run.world,
    )


def _play_elsewhere(config: Config, superlink: str) -> None:
    """Run in a federation: the run folder is on the SuperLink's machine, and here only if that is this one."""
    from rich.console import Console

    import analysis
    from analysis import tables
    from core import atomic
    from sim.backends.federation import run_federation
    from sim.backends.inprocess import silence_telemetry
    from sim.run_folder import open_run

    run = open_run(config)
    atomic.make_folder(run.path)
    silence_telemetry()
    settings = config.absolute().to_flat()
    show = Console(highlight=False, markup=False).print
    run_federation(superlink, "sim.server:app", "clients.app:app", run_config=settings, log_file=run.log, show=show)
    if run.sessions.exists():
        tables.show(analysis.terminal_table(analysis.load(run.path)))
    else:
        print(f"finished on the connection '{superlink}'; the run folder is on the SuperLink's machine: {run.path}")


def play_sweep(configs: list[Config], out: Path | None) -> None:
    """Play the runs of a sweep that are not finished yet, then compare them all and print the table."""
    from analysis import compare
    from analysis.tables import show
    from sim.experiment import load_data
    from sim.run_folder import open_run

    interactions: Interactions | None = None  # of all runs: a sweep has one data set
    for number, config in enumerate(configs):
        if not open_run(config).reported:
            if interactions is None and config.superlink is None:
                interactions = load_data(config)
            main(config, configs[:number], interactions)
    folders = [config.folder for config in configs]
    page, table = compare.comparison(folders, out and out.expanduser().absolute() / "comparison")
    show(table)
    print(page)


def cli(
    command: Callable[[Config], None],
    description: str,
    sweep: Callable[[list[Config], Path | None], None] | None = None,
    default: Config | None = None,
) -> int:
    """Parse the options and run ``command``; the exit status: 0 done, 2 for what the user can mend, 130 interrupted.

    If an option that can be is repeated (:mod:`sim.sweep`), ``sweep`` gets the configurations of all runs; without it,
    ``command`` runs once for each of them. ``default`` has other defaults than :class:`Config`.
    """
    arguments, repeated = split(sys.argv[1:])
    try:
        config = _parsed(arguments, description, default or Config())
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return MISTAKE
    going_on = config.out and str(config.out)

    def play() -> None:
        nonlocal going_on
        configs = repeated.configs(config)
        if len(configs) > 1 and sweep is not None:
            going_on = "the sweep"
            sweep(configs, config.out)
        else:
            for one in configs:
                going_on = str(one.folder)
                command(one)

    def interrupted() -> str:
        what = f" {going_on}" if going_on else ""
        return f"interrupted; the same command continues{what}:\n{shlex.join(sys.orig_argv)}"

    return run_command(play, interrupted)


def _program() -> str:
    """As the user has called it."""
    spec = sys.modules["__main__"].__spec__
    return Path(sys.argv[0]).name if spec is None else f"python -m {spec.name}"


def _parsed(arguments: list[str], description: str, default: Config) -> Config:
    """The options; raises :class:`UserError` for what cannot be parsed, as one line in place of the parser's box."""
    said, options = io.StringIO(), (tyro.conf.AvoidSubcommands,)
    try:
        with redirect_stderr(said):
            return tyro.cli(
                Config, prog=_program(), args=arguments, description=description, default=default, config=options
            )
    except SystemExit as ended:
        if not ended.code:  # --help
            raise
    lines = [line.strip("│| ") for line in said.getvalue().splitlines()[1:]]  # below the title
    parts = [list(part) for rule, part in groupby(lines, lambda line: not line.strip("─-╰╯")) if not rule]
    what = " ".join(parts[0]).rstrip(".")
    near = [part[1].split()[0] for part in parts if part[0] == "Perhaps you meant:"]
    raise UserError(f"{what}; {f'did you mean {near[0]}? ' if near else ''}--help lists every option")


if __name__ == "__main__":
    sys.exit(cli(main, str(Config.__doc__), play_sweep))
