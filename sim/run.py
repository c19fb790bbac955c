"""The main command.

python -m sim.run                                    # the embedded data set, needs no download
python -m sim.run --devices 1000 --dataset ml1m      # MovieLens-1M
python -m sim.run --scenario phones --scenario mine.toml    # one run for each device mix, and a comparison of them
"""

import shlex
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import tyro
from rich.console import Console

import analysis
from analysis import compare
from sim.config import Config
from sim.errors import UserError
from sim.experiment import prepare
from sim.progress import Display
from sim.scenario import load_scenario


def main(config: Config) -> None:
    """Run, then print the table."""
    from sim.backends import run_apps

    run, _ = prepare(config)
    if config.backend == "deployment":  # the cloud is another process, and this one shows nothing of it
        Display(quiet=config.quiet).say(f"the SuperLink and its SuperNodes write their progress to {run.log}")
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


def compare_runs(configs: list[Config], out: Path | None) -> None:
    """Compare the finished runs of a sweep, and print the table."""
    page = compare.compare([config.folder for config in configs], out and out.expanduser().absolute() / "comparison")
    Console().print(compare.terminal_table(pd.read_csv(page.parent / "comparison.csv")))
    print(page)


def cli(
    command: Callable[[Config], None],
    description: str,
    compared: Callable[[list[Config], Path | None], None] | None = None,
    default: Config | None = None,
) -> int:
    """Parse the options and run ``command``; the exit status: 0 done, 2 for what the user can mend, 130 interrupted.

    With several ``--scenario``, ``command`` runs once for each of them (below ``--out``, if that is given) and
    ``compared`` afterwards. ``default`` has other defaults than :class:`Config`.
    """
    arguments, scenarios = _sweep(sys.argv[1:])
    options = (tyro.conf.AvoidSubcommands,)
    config = tyro.cli(Config, args=arguments, description=description, default=default or Config(), config=options)
    out = config.out
    try:
        configs = _configs(config, scenarios)
        for config in configs:
            command(config)
        if len(configs) > 1 and compared is not None:
            compared(configs, out)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        command_line = shlex.join(sys.orig_argv)
        print(f"\ninterrupted; the same command continues {config.folder}:\n{command_line}", file=sys.stderr)
        return 130
    return 0


def _sweep(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Take every ``--scenario`` out of the arguments if there are several; what is left, and the device mixes."""
    rest, scenarios = [], []
    words = iter(arguments)
    for word in words:
        if word == "--scenario":
            scenarios.append(next(words, ""))
        elif word.startswith("--scenario="):
            scenarios.append(word.removeprefix("--scenario="))
        else:
            rest.append(word)
    return (rest, scenarios) if len(scenarios) > 1 else (arguments, [])


def _configs(config: Config, scenarios: list[str]) -> list[Config]:
    """The configuration of each run, checked, before the first of them begins."""
    if not scenarios:
        return [config.check().absolute()]
    names = [Path(scenario).stem if scenario.endswith(".toml") else scenario for scenario in scenarios]
    if len(set(names)) < len(names):
        raise UserError(f"--scenario names a device mix twice: {', '.join(names)}")
    for scenario in scenarios:
        load_scenario(scenario)
    return [
        replace(config, scenario=scenario, out=config.out and config.out / name).check().absolute()
        for scenario, name in zip(scenarios, names, strict=True)
    ]


if __name__ == "__main__":
    sys.exit(cli(main, str(Config.__doc__), compare_runs))
