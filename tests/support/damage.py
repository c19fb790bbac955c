"""Damage each kind of file of a run in each way, start the same command again, and print what it gives.

    python -m tests.support.damage                          # this tree
    python -m tests.support.damage --tree ../before --tree .  # two checkouts side by side

Files: a model in the cache, a model of a run that goes on, a training's checkpoint, the rows of a round, config.toml,
the rows of a finished run, a file of the devices' interactions, a device's stored network. Damages: empty, cut in half,
one flipped bit, replaced by another's (another seed's; of the rows of a round also another round's). Each tree is run
in a process of its own. The exit status is 1 if the last tree gave a wrong number or a traceback.
"""

import argparse
import contextlib
import importlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

METHODS = "devicerec,duet"
WRONG, CRASH = "WRONG NUMBERS, exit 0", "traceback"


class Stopped(KeyboardInterrupt):
    """The run is killed here."""


class Case(NamedTuple):
    """A file of a prepared state: where it is, and which other file may be put in its place."""

    name: str
    state: str
    file: str
    others: dict[str, str]


CASES = [
    Case("model in the cache", "cached", "cache/models/duet-*.safetensors", {"another seed's": "other"}),
    Case("model of a run that goes on", "half", "run/models/duet-0.safetensors", {"another seed's": "other"}),
    Case("training checkpoint", "training", "cache/models/devicerec-*.checkpoint", {"another seed's": "other"}),
    Case(
        "rows of a round",
        "half",
        "run/parts/0-duet-00001.parquet",
        {"another seed's": "other", "another round's": "run/parts/0-duet-00002.parquet"},
    ),
    Case("config.toml", "half", "run/config.toml", {"another seed's": "other"}),
    Case("rows of a finished run", "done", "run/sessions.parquet", {"another seed's": "other"}),
    Case("devices' interactions", "half", "run/world/items.npy", {"another seed's": "other"}),
    Case("device's stored network", "half", "run/world/devices/*duet*/*/network-*.safetensors", {"another's": "other"}),
]


def damages(content: bytes, whole_numbers: bool) -> Iterator[tuple[str, bytes]]:
    """The damages that need no other file.

    The bit is in the last quarter, where values are: the lowest of a whole number, or one of a float32's exponent.
    """
    yield "empty", b""
    yield "cut in half", content[: len(content) // 2]
    flipped = bytearray(content)
    place = len(content) * 3 // 16 * 4
    flipped[place if whole_numbers else place + 3] ^= 1 if whole_numbers else 1 << 6
    yield "one bit", bytes(flipped)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Damage files of a run and start it again.")
    parser.add_argument(
        "--tree", action="append", type=Path, help="checkout to try; may be repeated (default: this one)"
    )
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.here is not None:
        print(json.dumps(try_all(given.here)))
        return 0
    trees = [tree.resolve() for tree in given.tree or [Path(__file__).parents[2]]]
    found = [in_tree(tree) for tree in trees]
    columns = {"file, damage": list(found[-1])} | {
        str(number): [one.get(case, "") for case in found[-1]] for number, one in enumerate(found)
    }
    columns = {name if name == "file, damage" else trees[int(name)].name: cells for name, cells in columns.items()}
    print(f"| {' | '.join(columns)} |")
    print(f"|{' --- |' * len(columns)}")
    for row in zip(*columns.values(), strict=True):
        print(f"| {' | '.join(row)} |")
    return 1 if any(cell.startswith((WRONG, CRASH)) for cell in found[-1].values()) else 0


def in_tree(tree: Path) -> dict[str, str]:
    """What each case gives with the code of a checkout."""
    with tempfile.TemporaryDirectory(prefix="damage-") as scratch:
        done = subprocess.run(
            [sys.executable, __file__, "--here", scratch],
            cwd=scratch,
            env=os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def try_all(scratch: Path) -> dict[str, str]:
    """Prepare the states, then every case in a copy of its state."""
    play, run = importlib.import_module("sim.play"), importlib.import_module("sim.run")
    analysis = importlib.import_module("analysis")
    analysis.build_report = lambda folder: folder  # type: ignore[attr-defined]
    states = scratch / "states"
    write_csv(scratch / "data.csv")

    def config(folder: Path, seed: int = 0) -> Any:
        os.environ["SIM_CACHE_DIR"] = str(folder / "cache")
        return (
            importlib.import_module("sim.config")
            .Config(
                dataset=str(scratch / "data.csv"),
                devices=8,
                methods=METHODS,
                blocks=1,
                context=4,
                memory=6,
                epochs=3,
                session_length=4,
                sessions=4,
                policy="every:3",
                quiet=True,
                seed=seed,
                out=folder / "run",
            )
            .absolute()
        )

    def prepare(name: str, owner: Any, function: str, calls: int, seed: int = 0) -> None:
        with contextlib.suppress(Stopped), stopped_after(owner, function, calls):
            run.main(config(states / name, seed))

    loop = importlib.import_module("strategies.training")
    with contextlib.suppress(ImportError):
        loop = importlib.import_module("strategies.training.loop")
    prepare("done", play, "play_wave", 1000)
    rows = pd.read_parquet(states / "done" / "run" / "sessions.parquet")
    prepare("half", play.RunFolder, "save_part", 6)  # all four rounds of one method, two of the other
    prepare("training", loop, "validate", 2)
    prepare("other-training", loop, "validate", 2, seed=1)
    prepare("other", play.RunFolder, "save_part", 6, seed=1)
    prepare("other-done", play, "play_wave", 1000, seed=1)
    shutil.copytree(states / "done", states / "cached")
    shutil.rmtree(states / "cached" / "run")
    out: dict[str, str] = {}
    for case in CASES:
        for damage, content in contents(case, states):
            folder = scratch / "now"
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(states / case.state, folder)
            move_identity(folder, states / case.state)
            one_file(folder, case.file).write_bytes(content)
            out[f"{case.name}, {damage}"] = outcome(partial(run.main, config(folder)), folder, rows)
            print(case.name, damage, out[f"{case.name}, {damage}"], file=sys.stderr)
    return out


def move_identity(folder: Path, state: Path) -> None:
    """Nothing in a run folder may name the place where it was made."""
    for path in (folder / "run").glob("config.toml"):
        assert str(state) not in path.read_text(encoding="utf-8")


def contents(case: Case, states: Path) -> Iterator[tuple[str, bytes]]:
    """What is put in the place of the file, by the damage's name."""
    state = states / case.state
    yield from damages(one_file(state, case.file).read_bytes(), case.file.endswith(".npy"))
    for damage, other in case.others.items():
        if other != "other":
            yield damage, one_file(state, other).read_bytes()
            continue
        elsewhere = {"training": "other-training", "done": "other-done", "cached": "other-done"}.get(
            case.state, "other"
        )
        yield (
            damage,
            one_file(
                states / elsewhere, case.file.replace("0-duet", "1-duet").replace("duet-0.", "duet-1.")
            ).read_bytes(),
        )


def one_file(folder: Path, pattern: str) -> Path:
    """The first file of this pattern."""
    return min(folder.glob(pattern))


def outcome(command: Callable[[], object], folder: Path, rows: pd.DataFrame) -> str:
    """In a few words: what the command that is started again gives."""
    for module, name in (("clients.local_data", "open_storage"), ("clients.storage", "open_storage")):
        with contextlib.suppress(ImportError):
            getattr(importlib.import_module(module), name).cache_clear()
    for module, name in (
        ("clients.depot", "_model"),
        ("clients.device_batch", "_install"),
        ("clients.group", "_install"),
    ):
        with contextlib.suppress(ImportError, AttributeError):
            getattr(importlib.import_module(module), name).cache_clear()
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            command()
    except Exception as error:
        if any(kind.__name__ == "UserError" for kind in type(error).__mro__):
            return f"one line, exit 2: {short(str(error), folder)}"
        return f"{CRASH}: {type(error).__name__}"
    found = pd.read_parquet(folder / "run" / "sessions.parquet")
    lines = [line for line in said.getvalue().splitlines() if "damaged" in line or "not the right file" in line]
    if not found.equals(rows):
        return f"{WRONG} ({int((found != rows).to_numpy().sum()) if found.shape == rows.shape else 'other rows'} cells)"
    return f"equal rows: {short(lines[0], folder)}" if lines else "equal rows, not a word"


def short(line: str, folder: Path) -> str:
    """Without the scratch folder's name and the digits of a key."""
    return line.replace(f"{folder}/", "").replace(str(folder), "").replace("|", "/")


@contextlib.contextmanager
def stopped_after(owner: Any, name: str, calls: int) -> Iterator[None]:
    """``owner.name`` may be called that often; the next call ends the run."""
    real, count = getattr(owner, name), 0

    def counted(*args: object, **kwargs: object) -> object:
        nonlocal count
        count += 1
        if count > calls:
            raise Stopped
        return real(*args, **kwargs)

    setattr(owner, name, counted)
    try:
        yield
    finally:
        setattr(owner, name, real)


def write_csv(path: Path) -> None:
    """Interactions of 10 users with 30 items, in sessions."""
    rng, lines = np.random.default_rng(0), ["user,item,timestamp"]
    for user in range(10):
        items = (np.cumsum(rng.integers(1, 4, size=60)) + user) % 30
        times = 10**9 + np.cumsum(rng.choice([20, 40, 4000], p=[0.5, 0.3, 0.2], size=60))
        lines += [f"u{user},i{item},{time}" for item, time in zip(items, times, strict=True)]
    path.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    sys.exit(main())
