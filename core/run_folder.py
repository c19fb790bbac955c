"""A run is a folder: its paths, what it is (``config.toml``), what has been done, and whether it is finished.

Rows are kept in one Parquet part for each (seed, method, round) until the run is complete; a part appears whole or not
at all, so a run that was killed anywhere continues with the first part that is missing. Every part states which rows it
holds and carries a digest of them; the finished rows and ``config.toml`` do, too.
"""

import hashlib
import re
import shutil
import tomllib
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from core import atomic, locks, sealed
from core.errors import Damaged, UserError

CONFIG, SESSIONS, CHECKSUM, PARTS, WORLD = "config.toml", "sessions.parquet", "sessions.sha256", "parts", "world"
NODES = "nodes"
"""Folder, below that of the world, of the SuperNodes that a command starts on this machine: one for each."""
UPLOADS = "uploads.parquet"
"""What requests told the cloud, where the run keeps it."""
COVERAGE = "coverage.csv"
"""The file that counts the items recommended for each seed and method."""

_LEFT = re.compile(rf"{WORLD}|run\.log|{re.escape(locks.LOCK)}|{re.escape(locks.HOLDER)}|{atomic.TEMPORARY.pattern}")
"""What a start leaves that was interrupted before ``config.toml``, the last that it writes; the next one writes it all
again."""
_SEAL = re.compile(r"# sha256 of the lines below: ([0-9a-f]{64})\n")
_AGAIN = "start the run's command again"
PLAIN_UPLOADS = {"upload": "latent", "latent_clip": None, "latent_noise": None, "latent_bits": "32"}
"""The options by which devices alter what they send, with the values that leave it as it is."""
WORLD_FIX = f"delete the folder and {_AGAIN}, which writes it again"
"""What the user can do about devices' interactions that are damaged."""


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @staticmethod
    def claim(path: Path, identity: str) -> "RunFolder":
        """Find the folder with a run of this identity, or a place where one can begin; nothing is written.

        Raises :class:`UserError` if it belongs to another configuration or holds something else.
        """
        with atomic.explained(path):
            if path.exists() and not path.is_dir():
                raise UserError(f"--out {path} is a file; name a folder")
            begun = (path / CONFIG).exists()
            if not begun and path.exists() and not all(_LEFT.fullmatch(entry.name) for entry in path.iterdir()):
                raise UserError(f"{path} exists and is no run folder; choose another --out")
        if begun:
            found = read_config(path)["run"].get("identity")
            if found != identity:
                raise UserError(
                    f"{path} belongs to another configuration ({found}, this one is {identity}); "
                    "choose another --out or remove it"
                )
        return RunFolder(path)

    def held(self, patience: float = 0.0) -> AbstractContextManager[None]:
        """Hold the folder alone while the block runs; :class:`UserError` if another process does so for longer than
        ``patience`` seconds."""
        return locks.held(self.path, patience)

    # -- what it is --------------------------------------------------------------------------------------------------

    @property
    def begun(self) -> bool:
        """Whether an earlier start has written down what this run is."""
        return (self.path / CONFIG).exists()

    @cached_property
    def identity(self) -> str:
        """The hash of everything that decides the results; empty if a run of an earlier version has none."""
        return str(read_config(self.path)["run"].get("identity", ""))

    def write_config(self, text: str) -> None:
        """Write ``config.toml``, which makes the folder a run's, with a digest of its text in the first line."""
        digest = hashlib.sha256(text.encode()).hexdigest()
        atomic.write(self.path / CONFIG, f"# sha256 of the lines below: {digest}\n{text}")

    def check_data(self, data: Mapping[str, object]) -> None:
        """Raise :class:`UserError` if the run was begun with other data: the name of a data set says not which release
        a folder holds."""
        found = read_config(self.path, "data")["data"]
        for name in ("name", "users", "items", "interactions", "content", "events", "sessions", "streams"):
            if found.get(name, data[name]) != data[name]:
                raise UserError(
                    f"{self.path} was begun with other data ({name}: {found[name]}, now {data[name]}); "
                    "choose another --out or the --data-dir of then"
                )

    # -- places ------------------------------------------------------------------------------------------------------

    @property
    def sessions(self) -> Path:
        """The finished run's rows."""
        return self.path / SESSIONS

    @property
    def reported(self) -> bool:
        """Whether the run is finished and its report written."""
        return self.sessions.exists() and (self.path / "report.html").exists()

    @property
    def models(self) -> Path:
        """Trained cloud models, links into the cache where the file system allows."""
        return self.path / "models"

    @property
    def world(self) -> Path:
        """The simulated devices' own disks."""
        return self.path / WORLD

    @property
    def log(self) -> Path:
        """What Flower, Ray and torch have to say."""
        return self.path / "run.log"

    def check_world(self) -> None:
        """Raise :class:`Damaged` unless the devices' interactions are as this run wrote them."""
        sealed.check_arrays(self.world, WORLD_FIX, {"run": self.identity})

    # -- parts ------------------------------------------------------------------------------------------------------

    def part(self, seed: int, method: str, server_round: int) -> Path:
        """Where the rows of one round go."""
        return self.path / PARTS / f"{seed}-{method}-{server_round:05d}.parquet"

    def save_part(self, seed: int, method: str, server_round: int, rows: pd.DataFrame) -> None:
        """Write the rows of one round, whole or not at all."""
        facts = self._facts(seed, method, server_round)
        atomic.write(self.part(seed, method, server_round), sealed.pack_rows(rows, facts))

    def read_part(self, seed: int, method: str, server_round: int) -> pd.DataFrame:
        """The rows of one round; raises :class:`Damaged` if the part is missing, damaged or another round's."""
        facts = self._facts(seed, method, server_round)
        return sealed.read_rows(self.part(seed, method, server_round), facts, f"{_AGAIN}, which plays the round again")

    def check_parts(self, seed: int, method: str, rounds: Iterable[int], say: Callable[[str], None]) -> list[int]:
        """The rounds whose parts are there; one that is not what it should be is removed, with a line to ``say``."""
        found = []
        for server_round in rounds:
            path = self.part(seed, method, server_round)
            if not path.exists():
                continue
            try:
                self.read_part(seed, method, server_round)
                found.append(server_round)
            except Damaged as error:
                say(f"{reason(error)}; round {server_round} of {method} is played again")
                path.unlink()
        return found

    def drop_parts(self, seed: int, method: str, rounds: Iterable[int]) -> None:
        """Remove all parts of a method."""
        for server_round in rounds:
            self.part(seed, method, server_round).unlink(missing_ok=True)

    def gather(self, seeds: list[int], methods: list[str], rounds: int) -> pd.DataFrame:
        """All rows, in the order of seeds, methods, rounds and devices."""
        parts = [self.read_part(s, m, r) for s in seeds for m in methods for r in range(1, rounds + 1)]
        return pd.concat(parts, ignore_index=True)

    # -- what requests told the cloud --------------------------------------------------------------------------------

    def save_uploads(self, seed: int, method: str, server_round: int, rows: pd.DataFrame) -> None:
        """Write what the requests of one round told, beside its part."""
        facts = self._facts(seed, method, server_round, "uploads of a round")
        atomic.write(self._uploads_part(seed, method, server_round), sealed.pack_rows(rows, facts))

    def has_uploads(self, seed: int, method: str, server_round: int, say: Callable[[str], None]) -> bool:
        """Whether those of a round that has been played are there; if not, a line to ``say``."""
        try:
            self._read_uploads(seed, method, server_round)
            return True
        except Damaged as error:
            say(f"{reason(error)}; round {server_round} of {method} is played again")
            return False

    def finish_uploads(self, seeds: list[int], methods: list[str], rounds: int) -> None:
        """Write ``uploads.parquet`` from those of all rounds; :meth:`finish` is still to come."""
        parts = [self._read_uploads(s, m, r) for s in seeds for m in methods for r in range(1, rounds + 1)]
        rows = pd.concat(parts, ignore_index=True)
        atomic.write(self.path / UPLOADS, sealed.pack_rows(rows, {"kind": "uploads", "run": self.identity}))

    def uploads(self) -> pd.DataFrame:
        """What the requests of the finished run told the cloud; see :data:`core.schema.UPLOADS`.

        Raises :class:`UserError` if it kept nothing.
        """
        if not (self.path / UPLOADS).is_file():
            raise UserError(f"{self.path} holds no {UPLOADS}: play it with --uploads into another folder")
        fix = "play the run again into an empty folder"
        return sealed.read_rows(self.path / UPLOADS, {"kind": "uploads", "run": self.identity}, fix)

    def _uploads_part(self, seed: int, method: str, server_round: int) -> Path:
        return self.part(seed, method, server_round).with_suffix(".uploads.parquet")

    def _read_uploads(self, seed: int, method: str, server_round: int) -> pd.DataFrame:
        facts = self._facts(seed, method, server_round, "uploads of a round")
        return sealed.read_rows(
            self._uploads_part(seed, method, server_round), facts, f"{_AGAIN}, which plays it again"
        )

    def _facts(self, seed: int, method: str, server_round: int, kind: str = "rows of a round") -> dict[str, str]:
        return {
            "kind": kind,
            "run": self.identity,
            "seed": str(seed),
            "method": method,
            "round": str(server_round),
        }

    # -- whole run --------------------------------------------------------------------------------------------------

    def finish(self, rows: pd.DataFrame) -> None:
        """Write ``sessions.parquet``, with its checksum beside it, and drop the parts."""
        content = sealed.pack_rows(rows, {"kind": "rows of a run", "run": self.identity})
        atomic.write(self.path / CHECKSUM, f"{hashlib.sha256(content).hexdigest()}  {SESSIONS}\n")
        atomic.write(self.sessions, content)
        shutil.rmtree(self.path / PARTS, ignore_errors=True)

    def rows(self) -> pd.DataFrame:
        """The finished run's rows, see :func:`read_sessions`."""
        return read_sessions(self.path)


def read_config(folder: Path, *tables: str) -> dict[str, Any]:
    """All tables of the run in ``folder``.

    Raises :class:`UserError` if there is no such folder, no such file, it is not what the run wrote, or has none of the
    ``tables`` that are needed.
    """
    if not folder.exists():
        raise UserError(f"{folder}: there is no such folder; give the folder of a run")
    file = folder / CONFIG
    if not file.is_file():
        raise UserError(f"{folder} is not a run folder: there is no {CONFIG} in it")
    fix = "play the run again into an empty folder"
    content = sealed.read_bytes(file, fix)
    try:
        text = content.decode()
        config = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise sealed.damaged(file, str(error), fix) from None
    seal = _SEAL.match(text)
    if text.startswith("#") and (seal is None or seal[1] != hashlib.sha256(text[seal.end() :].encode()).hexdigest()):
        raise sealed.damaged(file, "it does not match the digest in its first line", fix)
    for name in ("run", *tables):
        if not isinstance(config.get(name), dict):
            raise UserError(f"{file} has no table [{name}]: it was written by another version; play the run again")
    return config


def finished_options(folder: Path) -> dict[str, Any]:
    """The options of a run that has been played to its end; raises :class:`UserError` for any other folder."""
    options: dict[str, Any] = read_config(folder)["run"]
    if not (folder / SESSIONS).is_file():
        raise UserError(f"{folder} is unfinished: {_AGAIN}, which continues it")
    return options


def of_one_model(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same options; raises :class:`UserError` for a run whose cloud trained again, where one model is needed."""
    if options.get("retrain"):
        raise UserError(f"{folder} was played with --retrain, by many versions of each model; play it without")
    return options


def as_extracted(options: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same options; raises :class:`UserError` for a run whose devices altered what they sent, so that their
    networks do not follow from their items alone."""
    altered = [
        f"--{name.replace('_', '-')}" for name, plain in PLAIN_UPLOADS.items() if options.get(name, plain) != plain
    ]
    if altered:
        raise UserError(
            f"{folder} was played with {' '.join(altered)}: its networks are made from altered requests, "
            "and are not made again; play it without"
        )
    return options


def read_sessions(folder: Path) -> pd.DataFrame:
    """The rows of a finished run, which are this run's and as it wrote them.

    A run of an earlier version, whose files carry no digests, is read as it is. Raises :class:`UserError`.
    """
    file = folder / SESSIONS
    config = read_config(folder)["run"]
    if not file.is_file():
        raise UserError(f"{folder} is unfinished: there is no {SESSIONS} yet; {_AGAIN}, which continues it")
    fix = f"delete it and {_AGAIN}, which plays the sessions again"
    sealed_run = bool(_SEAL.match((folder / CONFIG).read_text(encoding="utf-8")))
    content = sealed.read_bytes(file, fix)
    if sealed_run:
        checksum = sealed.read_bytes(folder / CHECKSUM, fix).decode(errors="replace").split()
        if not checksum or checksum[0] != hashlib.sha256(content).hexdigest():
            raise sealed.damaged(file, f"it does not match its checksum in {CHECKSUM}", fix)
    facts = {"kind": "rows of a run", "run": str(config.get("identity", ""))}
    return sealed.read_rows(file, facts if sealed_run else {}, fix, unsealed=not sealed_run)


def reason(error: Damaged) -> str:
    """What is wrong, without the fix."""
    return str(error).rsplit("; ", 1)[0]
