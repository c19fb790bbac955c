"""The command line: ``python -m analysis.reproduce TARGET ... [options]``."""

import sys
from collections.abc import Callable, Sequence

from rich.console import Console

from analysis.reproduce import blocks, case_study, modules, quality, times
from analysis.reproduce.options import Options, parse
from analysis.reproduce.result import Result, publish, show
from analysis.reproduce.runs import CommandFailed, Runs
from core.errors import UserError

Target = Callable[[str, Options, Runs], Result]

TARGETS: dict[str, Target] = {
    "table1": quality.reproduce,
    "table2": quality.reproduce,
    "table3": quality.reproduce,
    "table4": quality.reproduce,
    "table5": modules.overhead,
    "table6": modules.statistics,
    "table7": quality.reproduce,
    "table8": times.adaptation,
    "figure4": blocks.usage,
    "figure5": blocks.penalty,
    "figure6": case_study.reproduce,
    "figure7": times.communication,
}

WIDTH = 120
"""Characters of a line where there is no terminal."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 2 for what the user can mend, 130 interrupted, else the failed command's."""
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    try:
        targets, options = parse(sys.argv[1:] if arguments is None else arguments, list(TARGETS))
        for target in targets:
            result = TARGETS[target](target, options, Runs(options))
            show(result, console)
            for path in publish(result, options.folder):
                print(path)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except CommandFailed as failed:
        if failed.status not in (2, 130):
            print(f"error: {failed}", file=sys.stderr)
        return failed.status
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
