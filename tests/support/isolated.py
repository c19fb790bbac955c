"""Runs on machines that share nothing (:mod:`tests.support.machines`), and what becomes of them when a part dies.

    python -m tests.support.isolated                      # all cases; minutes each
    python -m tests.support.isolated raylets dead-actor   # these

One line a case: what was done, and whether the rows are those of the in-process run in every column. The exit status is
1 if one of them is not as :data:`CASES` says. Needs Linux and root.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import psutil
import pytest

from clients.app import app
from sim.backends.inprocess import InProcessGrid
from sim.config import Config
from sim.experiment import execute
from tests.support.clusters import (
    COMPLETED,
    STOPPED,
    environment,
    federation_of,
    installed,
    ray_cluster,
    start_supernode,
    started,
)
from tests.support.machines import possible, stop, wait_until
from tests.support.runs import sessions, without_report, write_csv
from tests.support.same_rows import differences

POLICY = "drift:0.1"
"""DeviceRec remembers nothing all the same."""
CACHE = "SIM_CACHE_DIR"
"""Each case has a cache of its own, by which its processes are known, too."""
WITHOUT_REPORT = """
import sys, analysis
from sim import run
from sim.config import Config
analysis.build_report = lambda folder: folder  # figures take longer than so small a run
sys.exit(run.cli(run.main, str(Config.__doc__)))
"""
"""The main command."""


def small(folder: Path, **options: object) -> Config:
    """A run of a few device-sessions whose folder is ``folder / "run"``."""
    return Config(
        dataset=str(write_csv(folder / "data.csv")), devices=12, methods="devicerec,forward-ofa", references="none",
        blocks=2, context=5, memory=8, epochs=1, sessions=3, session_length=4, quiet=True, out=folder / "run",
        **options,
    ).absolute()  # fmt: skip


def reference(config: Config, folder: Path) -> pd.DataFrame:
    """The rows of the in-process run."""
    config = replace(config, backend="inprocess", superlink=None, supernodes=None, out=folder)
    with pytest.MonkeyPatch.context() as patch:
        without_report(patch)
        execute(config, InProcessGrid(app, config.devices))
    return sessions(folder)


def command(config: Config, **options: str) -> list[str]:
    """The main command with this configuration."""
    out = [sys.executable, "-c", WITHOUT_REPORT]
    for name, value in {**config.to_flat(), **options}.items():
        out += [f"--{name}"] if value is True else [] if value is False else [f"--{name}", str(value)]
    return out


def until_filed(config: Config, rounds: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until the run has filed so many rounds; raises AssertionError if it ends before."""
    parts = config.folder / "parts"
    wait_until(lambda: len(list(parts.glob("*.parquet"))) >= rounds or process.poll() is not None)
    assert process.poll() is None, log.read_text()[-3000:]


def until_filed_again(config: Config, process: "subprocess.Popen[bytes]", log: Path) -> None:
    """Wait until this process has filed a round; raises AssertionError if the run ends before."""
    parts, began = config.folder / "parts", time.time_ns()

    def filed() -> bool:
        return any(part.stat().st_mtime_ns > began for part in parts.glob("*.parquet"))

    wait_until(lambda: filed() or process.poll() is not None)
    assert process.poll() is None, log.read_text()[-3000:]


def play(words: list[str], log: Path, variables: dict[str, str]) -> int:
    """The command to its end; its exit status."""
    with log.open("ab") as file:
        return subprocess.run(words, env=variables, stdout=file, stderr=file, check=False).returncode


def play_killed_and_again(config: Config, rounds: int, log: Path, variables: dict[str, str]) -> None:
    """Start the command, SIGKILL it alone once it has filed so many rounds, and start it again to its end."""
    with log.open("ab") as file:
        first = subprocess.Popen(command(config), env=variables, stdout=file, stderr=file, start_new_session=True)
        until_filed(config, rounds, first, log)
        first.kill()
        first.wait()
    assert play(command(config), log, variables) == 0, log.read_text()[-3000:]


# -- cases -------------------------------------------------------------------------------------------------------------


def same_as_reference(config: Config, folder: Path) -> str:
    """What tells the rows of the run from those of the in-process run; raises AssertionError unless nothing does."""
    rows, expected = sessions(config.folder), reference(config, folder / "inprocess")
    assert rows.equals(expected), "\n".join(differences(expected, rows))
    return f"{len(rows)} rows of {len(rows.columns)} columns equal, status {rows['status'].unique().tolist()}"


def last_line(log: Path) -> str:
    """The last line that a command has printed."""
    return ([line for line in log.read_text(errors="replace").splitlines() if line.strip()] or [""])[-1]


def raylets(folder: Path, **options: object) -> str:
    """Two raylets that share nothing; the run is killed once it has filed two rounds, and started again."""
    config = small(folder, backend="ray", **options)
    with ray_cluster(folder) as cluster:
        variables = environment(RAY_ADDRESS=cluster.address)
        play_killed_and_again(config, 4, folder / "out", variables)
        files = installed(cluster.there.disk() / "tmp"), installed(cluster.here)
        assert files == (2, 2), f"files installed there and here: {files}"
    return same_as_reference(config, folder)


def loopback(folder: Path, **options: object) -> str:
    """A SuperLink and two SuperNodes that the command starts; killed once it has filed a round, and started again."""
    config = small(folder, backend="deployment", supernodes=2, **options)
    config = replace(config, methods="forward-ofa", sessions=2)
    play_killed_and_again(config, 1, folder / "out", environment())
    return same_as_reference(config, folder)


def moved(folder: Path, **options: object) -> str:
    """Killed under each backend once it has filed a round there, continued under the next, and ended in-process."""
    config = replace(small(folder, **options), methods="finetune,forward-ofa", sessions=6)
    log = folder / "out"
    for backend in ("inprocess", "ray", "deployment"):
        here = replace(config, backend=backend, supernodes=None if backend == "inprocess" else 2)
        with started(command(here), log, environment()) as process:
            until_filed_again(here, process, log)
            process.kill()
            process.wait()
    assert play(command(config), log, environment()) == 0, last_line(log)
    return same_as_reference(config, folder)


def supernodes(folder: Path, **options: object) -> str:
    """Three SuperNodes that share nothing, with TLS and authentication; killed after a round, and started again."""
    config = small(folder, backend="deployment", superlink="three", supernodes=3, **options)
    config = replace(config, methods="forward-ofa", sessions=2)
    with federation_of(3, folder) as federation:
        play_killed_and_again(config, 1, folder / "out", federation.variables)
        files = [installed(node.disk() / "tmp" / "devices") for node in federation.nodes]
        assert files == [1, 1, 1], f"files installed: {files}"
        runs = federation.runs()
        assert runs == [STOPPED, COMPLETED], runs
        return f"{same_as_reference(config, folder)}; runs on the SuperLink: {', '.join(runs)}"


def processes_of(name: str) -> list[psutil.Process]:
    """The processes of this case, on whichever of its machines, whose command has this name in it."""
    found = []
    for process in psutil.process_iter():
        try:
            mine = process.environ().get(CACHE) == os.environ[CACHE]
            if mine and name in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def computing() -> psutil.Process | None:
    """An actor of Ray's that computes."""
    for one in processes_of("ClientAppActor"):
        try:
            before = sum(one.cpu_times()[:2])
            time.sleep(0.1)
            if sum(one.cpu_times()[:2]) > before:
                return one
        except psutil.Error:
            continue
    return None


def until(found: Callable[[], psutil.Process | None], process: "subprocess.Popen[bytes]") -> psutil.Process:
    """The first process that is ``found``; raises AssertionError if the command ends before."""
    while process.poll() is None:
        if (one := found()) is not None:
            return one
    raise AssertionError("the run has ended before a process was seen that computes")


def killed_and_continued(
    config: Config,
    folder: Path,
    kill: Callable[["subprocess.Popen[bytes]"], None],
    variables: dict[str, str] | None = None,
    mend: Callable[[], None] = lambda: None,
) -> str:
    """After the first round ``kill`` ends something; the command ends with status 2, is played again once ``mend`` has
    mended that, or goes on."""
    log, variables = folder / "out", variables or environment()
    with started(command(config), log, variables) as process:
        until_filed(config, 1, process, log)
        kill(process)
        began = time.monotonic()
        status = process.wait()
        took = time.monotonic() - began
    told = f"exit status {status} {took:.0f} s later: {last_line(log)}"
    if status:
        assert status == 2, told
        mend()
        assert play(command(config), log, variables) == 0, last_line(log)
    return f"{told}; {same_as_reference(config, folder)}"


def dead_actor(folder: Path) -> str:
    """A process of Ray that runs devices is killed while it computes."""
    config = replace(small(folder, backend="ray"), methods="finetune", devices=15, sessions=6)
    return killed_and_continued(config, folder, lambda process: until(computing, process).kill())


def dead_process(folder: Path) -> str:
    """A process that a SuperNode has started for a message is killed once it has the message and imports our code."""
    config = small(folder, backend="deployment", supernodes=2)
    config = replace(config, methods="forward-ofa", sessions=2)
    return killed_and_continued(config, folder, lambda process: until(at_work, process).kill())


def at_work() -> psutil.Process | None:
    """A process of a SuperNode that has got as far as our app, which it loads for a message."""
    for one in processes_of("flwr-clientapp"):
        try:
            if any("libtorch_cpu" in mapped.path for mapped in one.memory_maps()):
                return one
        except psutil.Error:
            continue
    return None


def dead_raylet(folder: Path) -> str:
    """All of Ray on the other machine is killed in a round."""
    config = replace(small(folder, backend="ray"), methods="finetune", devices=15, sessions=6)
    with ray_cluster(folder) as cluster:
        variables = environment(RAY_ADDRESS=cluster.address)
        return killed_and_continued(config, folder, lambda process: stop(cluster.raylet), variables)


def dead_supernode(folder: Path) -> str:
    """A SuperNode is killed in a round; after the stop it starts again with its key, and the run goes on."""
    config = small(folder, backend="deployment", superlink="three", supernodes=3)
    config = replace(config, methods="forward-ofa", sessions=2)
    with federation_of(3, folder) as federation:
        node = federation.nodes[1]
        told = killed_and_continued(
            config,
            folder,
            lambda process: stop(node.processes[-1]),
            federation.variables,
            lambda: start_supernode(node, folder, 1),
        )
        assert told.startswith("exit status 2 "), told
        return told


def interrupted(folder: Path) -> str:
    """Ctrl-C ends the run on the SuperLink, too; the same command continues."""
    config = small(folder, backend="deployment", superlink="three", supernodes=2)
    config = replace(config, methods="devicerec", sessions=2)
    log = folder / "out"
    with federation_of(2, folder) as federation:
        with started(command(config), log, federation.variables) as process:
            until_filed(config, 1, process, log)
            process.send_signal(signal.SIGINT)
            began = time.monotonic()
            status = process.wait()
            took = time.monotonic() - began
        told = f"exit status {status} {took:.0f} s later; the run on the SuperLink: {', '.join(federation.runs())}"
        assert status == 130, told
        assert federation.runs() == [STOPPED], told
        assert play(command(config), log, federation.variables) == 0, last_line(log)
        assert federation.runs() == [STOPPED, COMPLETED], federation.runs()
        return f"{told}; {same_as_reference(config, folder)}"


CASES: dict[str, Callable[[Path], str]] = {
    "raylets": raylets,
    "raylets-policy": partial(raylets, policy=POLICY),
    "loopback": loopback,
    "loopback-policy": partial(loopback, policy=POLICY),
    "moved": moved,
    "moved-policy": partial(moved, policy=POLICY),
    "supernodes": supernodes,
    "supernodes-policy": partial(supernodes, policy=POLICY),
    "dead-actor": dead_actor,
    "dead-process": dead_process,
    "dead-raylet": dead_raylet,
    "dead-supernode": dead_supernode,
    "interrupted": interrupted,
}


def main(names: list[str]) -> int:
    """Run these cases, or all; the exit status."""
    if unknown := [name for name in names if name not in CASES]:
        sys.exit(f"there is no case {unknown[0]}; choose from {', '.join(CASES)}")
    if not possible():
        sys.exit("network and mount namespaces need Linux and root")
    wrong = 0
    for name in names or list(CASES):
        folder = Path(tempfile.mkdtemp(prefix=f"isolated-{name}-"))
        os.environ[CACHE] = str(folder / "cache")
        began = time.monotonic()
        try:
            told = CASES[name](folder)
        except AssertionError as error:
            wrong, told = wrong + 1, f"WRONG (see {folder}): {error}"
        print(f"{name}, {time.monotonic() - began:.0f} s: {told}", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
