"""What requests give away: attack the uploads of finished runs, and set it against quality.

    python -m analysis.privacy RUN [RUN ...] [--attackers 3] [--data-dir DIR] [--out DIR]

Each RUN was played with ``--uploads``. An attacker is trained on what the cloud has, its histories and the extractors
that it shipped, and attacks what it got (:mod:`replay.privacy`). Writes ``privacy.csv`` into each RUN, which its report
then shows; a RUN that has one is not attacked again. Of several runs also all rows together and the figure of leakage
against quality, into ``--out`` (default: ``privacy`` beside the first).
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from core.cli import run as run_command
from core.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

FILE = "privacy.csv"


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    found = argparse.ArgumentParser(prog="python -m analysis.privacy", description=(__doc__ or "").split("\n\n")[0])
    found.add_argument("runs", type=Path, nargs="+", metavar="RUN", help="folders of runs played with --uploads")
    found.add_argument("--attackers", type=int, default=3, help="attackers of each kind, by seed (default: 3)")
    found.add_argument("--data-dir", type=Path, help="where raw data files are looked for first")
    found.add_argument("--out", type=Path, help="folder for the rows and the figure of several runs")
    return found


def attacked(run: Path, attackers: int, data_dir: Path | None = None) -> "pd.DataFrame":
    """The rows of a run, from its ``privacy.csv`` or measured and written there."""
    import pandas as pd

    from core import atomic

    file = run / FILE
    if file.is_file():
        print(f"{file} is there; delete it to attack the run again")
        return pd.read_csv(file)
    from replay.privacy.measure import measure  # with PyTorch, which a finished file needs none of

    rows = measure(run, attackers, data_dir)
    atomic.write(file, rows.to_csv(index=False))
    return rows


def compare(runs: Sequence[Path], attackers: int = 3, data_dir: Path | None = None, out: Path | None = None) -> None:
    """Attack runs, print their table, and write rows and figure of several.

    Raises :class:`UserError` if one of them kept no uploads or there is nothing to attack.
    """
    import pandas as pd

    from analysis import load, style
    from analysis.sections import privacy
    from analysis.tables import show, terminal
    from core import atomic

    if attackers < 1:
        raise UserError(f"--attackers is {attackers}; it must be at least 1")
    loaded = [load(run) for run in runs]
    if fresh := [run for run in runs if len(runs) > 1 and not (run / FILE).is_file()]:
        from replay.privacy.measure import check

        for run in fresh:  # the last one has to be wrong before the first one is attacked for minutes
            check(run, data_dir)
    rows = pd.concat([attacked(run, attackers, data_dir) for run in runs], ignore_index=True)
    titles = {name: title for one in loaded for name, title in one.titles.items()}
    for _, mine in rows.groupby(["run", "method"], sort=False):
        heading = f"{titles.get(mine['method'].iloc[0], '')}, defence: {mine['defence'].iloc[0]}"
        shown = privacy.columns(str)[2:]
        show(terminal(privacy.table(mine, shown), heading, shown))
    if len(runs) == 1:
        print(runs[0] / FILE)
        return
    folder = out or runs[0].absolute().parent / "privacy"
    folder.mkdir(parents=True, exist_ok=True)
    atomic.write(folder / FILE, rows.to_csv(index=False))
    with style.use():
        sheet = style.Sheet(list(dict.fromkeys(rows["method"])), titles)
        style.save(style.settle(privacy.draw(rows, sheet)), folder / "privacy")
    print(folder / FILE)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    given = parser().parse_args(arguments)
    return run_command(lambda: compare(given.runs, given.attackers, given.data_dir, given.out))


if __name__ == "__main__":
    sys.exit(main())
