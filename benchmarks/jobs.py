"""How long whole commands take: the first run and the main job, with nothing cached and with trained models.

    python -m benchmarks.jobs
    python -m benchmarks.jobs --jobs first --warm 1 --out jobs.csv
    git worktree add ../before 13682da && python -m benchmarks.jobs --before ../before

A job is `python -m sim.run` with the options of :data:`JOBS`, from the start of its process to its end. First it runs
cold, with an empty $SIM_CACHE_DIR, then warm, with the models that the cold run has cached. What a run prints as it
goes on divides the time: until its first training begins (imports, data), training, playing, and the rest (figures,
report, table). With ``--before`` the sources of another commit run in turn with these, each with the methods that it
compares by default, which are in the table.
"""

import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import tyro

from benchmarks.trees import HERE, SAID, check_places, commit_of, environment
from core.cli import run as run_command
from core.errors import UserError, unknown

JOBS = {"first": [], "main": ["--devices", "1000", "--dataset", "ml1m"]}
"""Options of ``sim.run``: a run without any, and the main command of the README."""


@dataclass(frozen=True)
class Options:
    """Measure how long whole commands take."""

    jobs: tuple[str, ...] = ("first", "main")
    """first (a run without options) and main (1,000 devices on MovieLens-1M)"""
    repeats: int = 1
    """cold runs of each, each with an empty cache"""
    warm: int = 3
    """runs after each cold one, with its models"""
    more: str = ""
    """options of sim.run beside those of the job, of all sources, in one word: --more="--epochs 1" """
    before: Path | None = None
    """a checkout of another commit, which runs in turn with these sources"""
    out: Path | None = None
    """CSV file with a line for each run"""

    def check(self) -> "Options":
        """Raise :class:`UserError` for the first option that cannot be."""
        for name in self.jobs:
            if name not in JOBS:
                raise UserError(unknown("job", name, JOBS))
        if self.repeats < 1 or self.warm < 0:
            raise UserError(f"--repeats {self.repeats} --warm {self.warm}: at least 1 and 0")
        check_places(self.out, self.before)
        return self


if __name__ == "__main__":  # a wrong option and --help need none of the imports below, which take seconds
    tyro.cli(Options, description=__doc__)


import pandas as pd

DONE = re.compile(r"(train|play) (.+?): (?:done in (?P<took>[^;]+)|from the cache)(?:;.*)?$")
"""The line of a run that has trained a model or played a method."""
PHASES = ["starting_s", "training_s", "playing_s", "rest_s"]
KEYS = ["job", "cache", "round"]
"""Of the runs that are compared with each other: one of each tree."""


@dataclass(frozen=True)
class Said:
    """A line of a run and when it came, in seconds since the run began."""

    moment: float
    text: str


def seconds(clock: str) -> float:
    """What a run calls "12 s", "3:07 min" or "1:02:07 h"."""
    total = 0
    for part in clock.split()[0].split(":"):
        total = 60 * total + int(part)
    return float(total)


def divided(lines: list[Said], wall: float) -> dict[str, object]:
    """Seconds of each phase, which add up to ``wall``, and what was trained and played for how long."""
    found = [(line.moment, match) for line in lines if (match := DONE.match(line.text))]
    trained, played = ([one for one in found if one[1][1] == kind] for kind in ("train", "play"))
    if not trained or not played:
        raise RuntimeError(f"a run has not said what it did: {[line.text for line in lines][-5:]}")
    first, match = trained[0]
    began = first - seconds(match["took"] or "0 s")
    moments = [0.0, began, trained[-1][0], played[-1][0], wall]
    spans = [after - before for before, after in pairwise(moments)]
    names = {
        kind: ", ".join(f"{match[2]} {match['took'] or 'cached'}" for _, match in those)
        for kind, those in (("trained", trained), ("played", played))
    }
    return {**dict(zip(PHASES, spans, strict=True)), **names}


def run_job(tree: Path, words: list[str], cache: Path, out: Path) -> dict[str, object]:
    """Run it once; raises RuntimeError if it fails."""
    command = [sys.executable, "-m", "sim.run", *words, "--out", str(out)]
    lines: list[Said] = []
    began, busy = time.perf_counter(), _processor_seconds()
    with subprocess.Popen(
        command,
        cwd=tree,
        env=environment(tree, SIM_CACHE_DIR=str(cache)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        lines += [Said(time.perf_counter() - began, line.rstrip()) for line in process.stderr]
    wall = time.perf_counter() - began
    if process.returncode:
        said = "\n".join(line.text for line in lines)
        raise RuntimeError(f"{tree}: status {process.returncode}\n{said[-SAID:]}")
    return {"wall_s": wall, "processor_s": _processor_seconds() - busy, **divided(lines, wall)}


def _processor_seconds() -> float:
    """Of all processes that this one has waited for, and of theirs."""
    spent = resource.getrusage(resource.RUSAGE_CHILDREN)
    return spent.ru_utime + spent.ru_stime


def measure(options: Options, scratch: Path) -> Iterator[dict[str, object]]:
    """One row a run: in each round every tree once."""
    trees = [HERE] if options.before is None else [options.before.resolve(), HERE]
    for repeat in range(options.repeats):
        for job in options.jobs:
            for number in range(1 + options.warm):
                for which, tree in enumerate(trees):
                    cached = "warm" if number else "cold"
                    turn = repeat * options.warm + number - 1 if number else repeat
                    folder = scratch / f"{repeat}-{job}-{which}"
                    words = [*JOBS[job], *options.more.split()]
                    found = run_job(tree, words, folder / "cache", folder / f"run-{number}")
                    sources = "now" if tree == HERE else "before"
                    yield dict(zip(KEYS, (job, cached, turn), strict=True)) | {
                        "sources": sources,
                        "commit": commit_of(tree),
                        **found,
                    }


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Medians over the rounds, and how many times as long the other commit took, the median of ratios in a round."""
    numbers = ["wall_s", "processor_s", *PHASES]
    found = rows.groupby(["job", "cache", "sources"], sort=False)[numbers].median().reset_index()
    if set(rows["sources"]) == {"now", "before"}:
        walls = rows.pivot(index=KEYS, columns="sources", values="wall_s")
        ratio = (walls["before"] / walls["now"]).groupby(level=["job", "cache"]).median()
        found = found.join(ratio.rename("times_before"), on=["job", "cache"])
        found["times_before"] = found["times_before"].where(found["sources"] == "now")
    return found


def main() -> int:
    """Exit status: 0 done, 2 for what the user can mend."""
    options = tyro.cli(Options, description=__doc__)
    return run_command(lambda: _run(options.check()))


def _run(options: Options) -> None:
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory(prefix="jobs-") as scratch:
        for row in measure(options, Path(scratch)):
            rows.append(row)
            print(
                f"{row['job']}, {row['cache']}, {row['sources']} ({row['commit']}): {row['wall_s']:.1f} s, "
                f"{row['processor_s']:.1f} s of processors; trained {row['trained']}; played {row['played']}",
                flush=True,
            )
            if options.out is not None:
                pd.DataFrame(rows).to_csv(options.out, index=False, float_format="%.5g")
    print(summary(pd.DataFrame(rows)).to_string(index=False, float_format="{:,.1f}".format))


if __name__ == "__main__":
    sys.exit(main())
