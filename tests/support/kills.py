"""SIGKILL at random moments: play a small run, kill it, start the same command again until it is done, compare rows.

    python -m tests.support.kills --training 30 --rounds 30 --ray 10 --total 100

Each repetition has a cache and a run folder of its own, so that it trains; it is killed several times. Where a kill
falls is told by what the process has written since it was started:

==========  ============================================================================================
start       nothing yet: imports, data, or the first epoch
training    a checkpoint of a training in the cache, and no ``training.csv`` yet
rounds      rows of a round in ``parts/``
report      ``sessions.parquet``
==========  ============================================================================================

One line a kill, one a repetition, a table at the end; the exit status is 1 if rows differ or a command that nobody
killed failed.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pandas as pd
import psutil
import tyro

from tests.support.same_rows import differences

ROOT = Path(__file__).parents[2]
POLL = 0.01
"""Seconds between two looks at what a process has written."""
PATIENCE = 1800
"""Seconds after which a command that does not end has failed."""
MOST = 3
"""Kills of one kind in a repetition."""

Phase = Literal["start", "training", "rounds", "report"]
Aim = Literal["training", "rounds", "anywhere"]


@dataclass(frozen=True)
class Options:
    """Kill runs at random moments and compare their rows with those of a run that nobody disturbed."""

    training: int = 2
    """kills inside training epochs, at least"""
    rounds: int = 2
    """kills inside rounds, at least"""
    ray: int = 0
    """kills inside rounds under --backend ray, at least; they do not count as those of --rounds"""
    total: int = 5
    """kills in all, at least; those that are not named above fall anywhere between start and end"""
    seed: int = 0
    """of the moments"""
    run: str = "--devices 60 --sessions 5 --epochs 6 --methods devicerec,finetune,forward-ofa"
    """options of the run; write --run="--devices 60 ..." with the equals sign"""
    folder: Path | None = None
    """where runs and caches go (default: a temporary folder, removed if all is well)"""


@dataclass(frozen=True)
class Kill:
    """One SIGKILL."""

    backend: str
    seconds: float
    """Since the process was started."""
    phase: Phase
    where: str
    """What had been written, in words."""
    epochs: int
    """Finished since the process was started."""
    status: int
    """Exit status of the killed command."""


@dataclass
class Repetition:
    """One run, killed several times and then left in peace."""

    backend: str
    kills: list[Kill] = field(default_factory=list)
    status: int = 0
    """Exit status of the last start."""
    different: list[str] = field(default_factory=list)
    """What tells its rows from those of the undisturbed run."""


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody killed: its rows, and how many seconds it took."""

    rows: pd.DataFrame
    whole: float
    training: float
    """From the first checkpoint until rows of a round are there."""
    rounds: float
    """From then until all rows are there."""
    epochs: int
    parts: int


class Watch:
    """What a process writes: the phase it is in, as far as files tell."""

    def __init__(self, folder: Path) -> None:
        self.run, self.models = folder / "run", folder / "cache" / "models"
        self._before = self._written()
        self.epochs = 0
        """Checkpoints that the process has written."""
        self.active = False
        self._checkpoints = self._stamps(self.models, "*.checkpoint")

    def phase(self) -> Phase:
        """Look at the files again."""
        found = self._stamps(self.models, "*.checkpoint")
        self.epochs += len(found - self._checkpoints)
        self._checkpoints = found
        self.active = self.active or self._written() != self._before
        if not self.active:
            return "start"
        if (self.run / "sessions.parquet").exists():
            return "report"
        if (self.run / "training.csv").exists():
            return "rounds" if self._stamps(self.run / "parts", "*.parquet") else "start"
        return "training" if self.epochs else "start"

    @property
    def parts(self) -> int:
        """Rounds whose rows are there."""
        return len(self._stamps(self.run / "parts", "*.parquet"))

    def words(self) -> str:
        """What is there, in words."""
        models = len(self._stamps(self.models, "*.safetensors"))
        return f"{models} models trained, {self.epochs} epochs since the start, {self.parts} parts"

    def _written(self) -> set[tuple[str, int]]:
        files = self._stamps(self.models, "*.checkpoint") | self._stamps(self.run / "parts", "*.parquet")
        return files | self._stamps(self.run, "sessions.parquet")

    @staticmethod
    def _stamps(folder: Path, pattern: str) -> set[tuple[str, int]]:
        out = set()
        for path in folder.glob(pattern):
            try:
                out.add((path.name, path.stat().st_mtime_ns))
            except FileNotFoundError:  # gone between the two looks
                continue
        return out


def start(folder: Path, backend: str, options: str) -> subprocess.Popen[bytes]:
    """The command, with a cache of its own; what it prints goes to ``output.txt``."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "sim.run", *options.split(), "--backend", backend, "--out", str(folder / "run")]
    environment = {**os.environ, "SIM_CACHE_DIR": str(folder / "cache"), "OMP_NUM_THREADS": "1"}
    with (folder / "output.txt").open("ab") as output:
        return subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=output, stderr=output, start_new_session=True
        )


def end(process: subprocess.Popen[bytes]) -> int:
    """Wait until the command has done its work; the exit status."""
    try:
        return process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        kill(process)
        return -signal.SIGKILL


def kill(process: subprocess.Popen[bytes]) -> int:
    """SIGKILL to the command alone; what it had started gets ten seconds to notice. How many had to be killed too."""
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        children = []
    process.kill()
    process.wait()
    _, alive = psutil.wait_procs(children, timeout=10)
    for child in alive:
        child.kill()
    psutil.wait_procs(alive, timeout=10)
    return len(alive)


def undisturbed(folder: Path, options: str) -> Undisturbed:
    """Play the run once."""
    watch, began = Watch(folder), time.monotonic()
    process = start(folder, "inprocess", options)
    first: dict[Phase, float] = {}
    parts = 0
    while process.poll() is None and time.monotonic() - began < PATIENCE:
        first.setdefault(watch.phase(), time.monotonic() - began)
        parts = max(parts, watch.parts)
        time.sleep(POLL)
    if (status := end(process)) != 0:
        sys.exit(f"the undisturbed run ended with status {status}; see {folder / 'output.txt'}")
    whole = time.monotonic() - began
    report = first.get("report", whole)
    rounds = first.get("rounds", report)
    training = rounds - first.get("training", rounds)
    return Undisturbed(rows(folder), whole, training, report - rounds, watch.epochs, parts)


def rows(folder: Path) -> pd.DataFrame:
    """What the run has written at its end."""
    return pd.read_parquet(folder / "run" / "sessions.parquet")


def strike(folder: Path, backend: str, options: str, aim: Aim, wait: float) -> Kill | int:
    """Start the command and kill it where ``aim`` says; the exit status if it had ended before.

    ``wait`` are the seconds since the first file of the phase, or since the start for a kill anywhere.
    """
    watch, began = Watch(folder), time.monotonic()
    process = start(folder, backend, options)
    due = began + wait if aim == "anywhere" else None
    phase: Phase = "start"
    while process.poll() is None:
        phase, now = watch.phase(), time.monotonic()
        if due is None and (phase in (aim, "report") or (aim == "training" and phase == "rounds")):
            due = now + (wait if phase == aim else 0.0)
        if (due is not None and now >= due) or now - began > PATIENCE:
            break
        time.sleep(POLL)
    if process.poll() is not None:
        return process.returncode
    seconds, phase, where = time.monotonic() - began, watch.phase(), watch.words()
    left = kill(process)
    if left:
        where += f"; {left} processes of it had to be killed too"
    return Kill(backend, seconds, phase, where, watch.epochs, process.returncode)


def counted(done: list[Repetition]) -> Counter[str]:
    """How many kills there are of each kind that was asked for."""
    out: Counter[str] = Counter()
    for one in done:
        for each in one.kills:
            out["total"] += 1
            if each.backend == "ray":
                out["ray"] += each.phase == "rounds"
            else:
                out[each.phase] += 1
    return out


def plan(options: Options, found: Counter[str]) -> tuple[str, list[Aim]] | None:
    """Backend and aims of the next repetition; None when there are enough kills."""
    training, rounds = options.training - found["training"], options.rounds - found["rounds"]
    if training > 0 or rounds > 0:
        wanted: list[Aim] = ["training"] * min(MOST, max(0, training))
        return "inprocess", wanted + ["rounds"] * min(MOST, max(0, rounds))
    if options.ray > found["ray"]:
        return "ray", ["rounds"] * min(MOST, options.ray - found["ray"])
    anywhere = options.total - found["total"]
    return ("inprocess", ["anywhere"] * min(MOST, anywhere)) if anywhere > 0 else None


def repeat(
    folder: Path, backend: str, aims: list[Aim], options: str, reference: Undisturbed, draws: random.Random
) -> Repetition:
    """One run with these kills, then undisturbed until it is done."""
    found = Repetition(backend)
    for number, aim in enumerate(aims):
        epochs = sum(each.epochs for each in found.kills)
        parts = Watch(folder).parts
        left = {
            "training": reference.training * max(0.0, 1 - epochs / max(reference.epochs, 1)),
            "rounds": reference.rounds * max(0.0, 1 - parts / max(reference.parts, 1)),
            "anywhere": reference.whole,
        }
        # Of several kills of a kind the first may fall in the first part of what is left, the last anywhere in it.
        one = strike(folder, backend, options, aim, draws.random() * left[aim] / aims[number:].count(aim))
        if isinstance(one, int):  # it had ended before its moment came
            break
        found.kills.append(one)
        print(f"  {backend}, after {one.seconds:5.1f} s, {one.phase}: {one.where}; exit {one.status}", flush=True)
    found.status = end(start(folder, backend, options))
    if found.status == 0:
        found.different = differences(reference.rows, rows(folder))
    else:
        found.different = [f"the command that nobody killed ended with status {found.status}: {folder / 'output.txt'}"]
    return found


def table(done: list[Repetition]) -> str:
    """Moment, phase, exit status and rows of every kill."""
    lines = [f"{'kill':>4} {'run':>3} {'backend':<9} {'after':>7} {'phase':<8} {'exit':>4} {'rows':<9} where"]
    number = 0
    for index, one in enumerate(done, start=1):
        for each in one.kills:
            number += 1
            equal = "equal" if not one.different else "DIFFERENT"
            lines.append(
                f"{number:>4} {index:>3} {each.backend:<9} {each.seconds:>5.1f} s {each.phase:<8} "
                f"{each.status:>4} {equal:<9} {each.where}"
            )
    found, wrong = counted(done), sum(bool(one.different) for one in done)
    lines.append(
        f"{found['total']} kills in {len(done)} runs: {found['training']} inside training, {found['rounds']} inside "
        f"rounds, {found['ray']} inside rounds under ray; {wrong} runs with other rows"
    )
    return "\n".join(lines)


def main(options: Options) -> int:
    """Kill until there are enough kills of each kind; the exit status."""
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="kills-"))).absolute()
    reference = undisturbed(folder / "undisturbed", options.run)
    print(f"undisturbed: {len(reference.rows)} rows in {reference.whole:.0f} s, see {folder}", flush=True)
    draws = random.Random(options.seed)
    done: list[Repetition] = []
    while (following := plan(options, counted(done))) is not None:
        if len(done) >= 2 * options.total:
            print(f"only {len(done)} runs were tried: the moments asked for are too rare, give --run a longer run")
            break
        backend, aims = following
        mine = folder / f"run-{len(done) + 1}"
        print(f"run {len(done) + 1}: kills in {', '.join(aims)}", flush=True)
        done.append(repeat(mine, backend, aims, options.run, reference, draws))
        print("  rows are equal" if not done[-1].different else "\n".join(done[-1].different), flush=True)
        if not done[-1].different:
            shutil.rmtree(mine)
    print(table(done))
    wrong = any(one.different for one in done)
    if not wrong and options.folder is None:
        shutil.rmtree(folder)
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Options)))
