"""What is installed on a machine: files by their content, shared by all devices of the machine.

A message names a file by its SHA-256. Where the file is not there, or is not what it should be, the device answers with
the record ``missing``, and the cloud sends it in the record ``install`` (:mod:`sim.backends.population`): once for each
depot, not once for each device. A file is read, checked against its name, and kept in memory once per process.

The depot is a folder: ``device-dir`` of the node's configuration, else ``$SIM_DEVICE_DIR``, else one of the user's in
the system's folder for temporary files.
"""

import hashlib
import os
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context

from clients.fields import MISSING_FIELDS, BadMessage, check, check_digest, shown
from clients.folders import DEVICE_DIR, FOLDER_VARIABLE
from core import atomic
from models.checkpoint import INSTALLED, Installed, load_device
from models.misrecommendation import Detector, load_detector

INSTALL, WANTED, MISSING = "install", "wanted", "missing"
_KEPT_DAYS = 30
"""A file that no process has opened for that long is removed when another is installed."""
_T = TypeVar("_T")


class NotInstalled(Exception):
    """Files that a message needs are not on this machine."""

    def __init__(self, *digests: str) -> None:
        super().__init__(*digests)
        self.digests = digests


def own_folder(context: Context) -> Path | None:
    """The folder of the node or of its machine; None where neither has been given one."""
    named = context.node_config.get(DEVICE_DIR) or os.environ.get(FOLDER_VARIABLE)
    return Path(str(named)) if named else None


def depot(context: Context) -> str:
    """The folder of what is installed on the machine of this node."""
    named = context.node_config.get(DEVICE_DIR) or os.environ.get(FOLDER_VARIABLE)
    return _below(str(named)) if named else str(_temporary())


@lru_cache(maxsize=64)
def _below(folder: str) -> str:
    """The depot in a folder of devices."""
    return str(Path(folder) / INSTALLED)


def model(folder: str, digest: str) -> Installed:
    """The model that is installed under this digest, one copy per process, read-only; raises NotInstalled."""
    return _model(folder, digest)


def detector(folder: str, digest: str) -> Detector:
    """The mis-recommendation detector that is installed under this digest, likewise."""
    return _detector(folder, digest)


def intact(folder: str, digest: str) -> bool:
    """Whether the file is there and is what its name says; one that is not is removed."""
    path = _path(folder, digest)
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() == digest:
                return True
        path.unlink(missing_ok=True)
    except FileNotFoundError:
        pass
    return False


def install(folder: str, record: object) -> None:
    """Write the files of an ``install`` record into a depot.

    Raises :class:`clients.fields.BadMessage` for anything else than arrays of bytes, each named by their SHA-256.
    """
    if not isinstance(record, ArrayRecord):
        raise BadMessage(f"'{INSTALL}' must hold arrays")
    for digest, array in record.items():
        check_digest("the name of a file", digest)
        if array.dtype != "uint8" or len(array.shape) != 1:
            raise BadMessage(f"the file {digest[:12]} is {shown(array.dtype)} {shown(array.shape)}, expected bytes")
        content = array.numpy().tobytes()
        if (found := hashlib.sha256(content).hexdigest()) != digest:
            raise BadMessage(f"the file {digest[:12]} has the digest {found[:12]}")
        _forget_old(Path(folder))
        atomic.write(_path(folder, digest), content)


def pack_install(files: Mapping[str, bytes]) -> ArrayRecord:
    """The record that installs these files, by their digests."""
    return ArrayRecord({digest: Array(np.frombuffer(content, np.uint8)) for digest, content in files.items()})


def pack_missing(folder: str, digests: Iterable[str]) -> dict[str, ConfigRecord]:
    """The answer of a machine on which these files are not installed."""
    return {MISSING: ConfigRecord({"digests": " ".join(sorted(set(digests))), "depot": _name(folder)})}


def pack_wanted(digests: Iterable[str]) -> ConfigRecord:
    """The record that asks whether these files are installed."""
    return ConfigRecord({"digests": " ".join(sorted(digests))})


def read_wanted(record: object) -> list[str]:
    """The digests in it; raises :class:`clients.fields.BadMessage`."""
    digests: list[str] = check(WANTED, record, MISSING_FIELDS[:1])["digests"].split()
    for digest in digests:
        check_digest("a digest", digest)
    return digests


def read_missing(record: object) -> tuple[list[str], str]:
    """The digests and the depot's name in such an answer; raises :class:`clients.fields.BadMessage`."""
    told = check(MISSING, record, MISSING_FIELDS)
    return told["digests"].split(), told["depot"]


@lru_cache(maxsize=8)
def _model(folder: str, digest: str) -> Installed:
    return _opened(folder, digest, load_device)


@lru_cache(maxsize=4)
def _detector(folder: str, digest: str) -> Detector:
    return _opened(folder, digest, load_detector)


def _opened(folder: str, digest: str, load: Callable[[Path], _T]) -> _T:
    path = _path(folder, digest)
    if not intact(folder, digest):
        raise NotInstalled(digest)
    os.utime(path)
    return load(path)


def _path(folder: str, digest: str) -> Path:
    return Path(folder) / f"{digest}.safetensors"


def _name(folder: str) -> str:
    """The depot's name, by which the cloud tells machines apart."""
    path = Path(folder) / "name"
    if not path.exists():
        atomic.make_folder(path.parent)
        try:
            with path.open("x", encoding="ascii") as file:
                file.write(secrets.token_hex(8))
        except FileExistsError:
            pass
    return path.read_text(encoding="ascii").strip() or "unnamed"


def _forget_old(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        try:
            if time.time() - path.stat().st_mtime > _KEPT_DAYS * 86400:
                path.unlink()
        except OSError:  # another process has just removed it
            continue


def _temporary() -> Path:
    return Path(tempfile.gettempdir()) / f"forward-ofa-{os.getuid()}"
