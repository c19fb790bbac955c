"""The command line: ``python -m analysis.reproduce TARGET ... [options]``."""

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from analysis.reproduce.options import parse
from core.errors import UserError
from core.registry import Registry

if TYPE_CHECKING:
    from analysis.reproduce.result import Job, Result

TARGETS: "Registry[Callable[[Job], Result]]" = Registry(
    {
        **dict.fromkeys(("table1", "table2", "table3", "table4"), "analysis.reproduce.quality:reproduce"),
        "table1-epochs": "analysis.reproduce.epochs:reproduce",
        "table5": "analysis.reproduce.modules:overhead",
        "table6": "analysis.reproduce.modules:statistics",
        "table7": "analysis.reproduce.quality:reproduce",
        "table8": "analysis.reproduce.times:adaptation",
        "figure4": "analysis.reproduce.blocks:usage",
        "figure5": "analysis.reproduce.blocks:penalty",
        "figure6": "analysis.reproduce.case_study:reproduce",
        "figure7": "analysis.reproduce.times:communication",
    }
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 done, 2 for what the user can mend, 130 interrupted, else the failed command's."""
    try:
        targets, options = parse(sys.argv[1:] if arguments is None else arguments, list(TARGETS))

        from analysis.reproduce.result import Job, publish, show
        from analysis.reproduce.runs import CommandFailed
        from analysis.tables import console

        shown = console()
        try:
            for target in targets:
                result = TARGETS[target](Job(target, options))
                show(result, shown)
                for path in publish(result, options.folder):
                    print(path)
        except CommandFailed as failed:
            if failed.status not in (2, 130):
                print(f"error: {failed}", file=sys.stderr)
            return failed.status
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted; the same command continues", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
