"""Playing what a target needs: ``sim.run`` in a process of its own, one run folder for each method and setting.

A run folder continues by itself, so that an interrupted target is finished by the same command; a finished one is only
read, by whichever target needs it.
"""

import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from analysis.reproduce.options import Options, short_hash
from analysis.run import Run, load
from core import atomic


class CommandFailed(Exception):
    """A command of the simulator ended with this status; it has said why on its own."""

    def __init__(self, words: Sequence[str], status: int) -> None:
        super().__init__(f"{' '.join(words)} ended with status {status}")
        self.status = status


class Runs:
    """The run folders of one set of options."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.folder = options.folder / "runs"
        self.used: dict[Path, Run] = {}

    def play(self, backbone: str, methods: str, *, small: bool = False, **others: object) -> Run:
        """The finished run of a method (or several, separated by commas), played now if it is not there yet.

        ``small``: with a third of the blocks; ``others``: further options of ``sim.run``.
        """
        blocks = self.options.num_blocks(backbone, small)
        words = self.options.run_options(backbone, methods, blocks, **others)
        path = self.folder / f"{backbone}-{blocks}-{methods.replace(',', '+')}-{short_hash(words)}"
        if not (path / "sessions.parquet").exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            print(f"{path.name}: {' '.join(['python', '-m', 'sim.run', *words])}", file=sys.stderr)
            where = ["--out", str(path), *data_folder(self.options), "--accelerator", self.options.accelerator]
            spent, began = _spent(path), time.monotonic()
            try:
                execute("sim.run", [*words, *where])
            finally:
                atomic.write(_clock(path), f"{spent + time.monotonic() - began:.1f}\n")
        self.used[path] = load(path)
        return self.used[path]

    def file(self, name: str, module: str, words: Sequence[str], flag: str) -> Path:
        """The file that a command of the simulator writes where ``flag`` says, made now if it is not there yet."""
        path = self.folder / name
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            execute(module, [*words, *data_folder(self.options), flag, str(path)])
        return path

    @property
    def titles(self) -> dict[str, str]:
        """What methods are called in the runs in use."""
        return {name: title for run in self.used.values() for name, title in run.titles.items()}

    @property
    def seconds(self) -> float:
        """What the runs in use took in all, over every attempt; less if their models were in the cache already."""
        return sum(_spent(path) for path in self.used)


def execute(module: str, words: Sequence[str]) -> None:
    """Run a command of the simulator, its progress on the terminal; raises :class:`CommandFailed`."""
    done = subprocess.run([sys.executable, "-m", module, *words], stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise CommandFailed(["python", "-m", module, *words], done.returncode)


def data_folder(options: Options) -> list[str]:
    """The option that says where raw data are, if it was given."""
    return [] if options.data_dir is None else ["--data-dir", str(options.data_dir.expanduser().absolute())]


def processor() -> str:
    """The processor's own name."""
    facts = Path("/proc/cpuinfo")
    lines = facts.read_text().splitlines() if facts.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def machine() -> str:
    """The processor, how many cores of it there are, and the GPU if there is one."""
    cores = os.cpu_count() or 1
    text = f"{processor()}, {cores} core{'' if cores == 1 else 's'}"
    tool = shutil.which("nvidia-smi")
    if tool is not None:
        command = [tool, "--query-gpu=name", "--format=csv,noheader"]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
        gpus = asked.stdout.strip().splitlines() if asked.returncode == 0 else []
        text += "".join(f", {gpu.strip()}" for gpu in gpus)
    return text


def _clock(path: Path) -> Path:
    return path.with_name(f"{path.name}.seconds")


def _spent(path: Path) -> float:
    clock = _clock(path)
    return float(clock.read_text()) if clock.exists() else 0.0
