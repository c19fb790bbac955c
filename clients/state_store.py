"""Where a device keeps what it remembers: files where its node has a folder of its own, Flower's context elsewhere.

Files outlive the run's processes, so that a killed run goes on. What lies in the context follows the device: Ray runs a
device on any free process of any machine, where files of last time would be missing.
"""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from flwr.app import Array, ArrayRecord, Context, RecordDict

from clients.folders import DEVICE_DIR
from core import atomic, sealed

FIX = "stop the run, delete the folder of that file and start the run's command again, which plays the method again"

Arrays = dict[str, np.ndarray]


def _everything(name: str) -> bool:
    return True


class StateStore(Protocol):
    """Arrays by the name of an entry, of one device and one method."""

    def names(self) -> list[str]:
        """The entries there are."""

    def read(self, name: str, facts: Mapping[str, str], wanted: Callable[[str], bool] = _everything) -> Arrays | None:
        """The ``wanted`` arrays of an entry; None if there is no such entry.

        Raises :class:`core.errors.Damaged` if it is not as it was written or not the one that the ``facts`` describe.
        """

    def write(self, name: str, arrays: Arrays, facts: Mapping[str, str]) -> None:
        """Keep the arrays under this name, whole or not at all."""

    def remove(self, name: str) -> None:
        """Forget an entry."""


class FolderStore:
    """A folder with a file for each entry.

    Files appear whole or not at all, say whose they are, and carry digests. They are not flushed to the disk one by
    one; the simulation does that for all of a round before it files its rows.
    """

    def __init__(self, folder: Path) -> None:
        """``folder`` is the device's own, below that of the method."""
        self._folder = folder
        self._whose = {"of": folder.parent.name, "device": folder.name}

    def names(self) -> list[str]:
        return [path.stem for path in self._folder.glob("*.safetensors")]

    def read(self, name: str, facts: Mapping[str, str], wanted: Callable[[str], bool] = _everything) -> Arrays | None:
        path = self._path(name)
        if not path.exists():
            return None
        found, arrays = sealed.read_tensors(path, FIX, wanted)
        sealed.expect(path, found, {**self._whose, **facts}, FIX)
        return arrays

    def write(self, name: str, arrays: Arrays, facts: Mapping[str, str]) -> None:
        content = sealed.pack_tensors(arrays, {**self._whose, **facts})
        atomic.write(self._path(name), content, durable=False)

    def remove(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.safetensors"


class ContextStore:
    """Records of the node's context, each under the device's prefix."""

    def __init__(self, state: RecordDict, prefix: str) -> None:
        self._state, self._prefix = state, prefix

    def names(self) -> list[str]:
        return [name[len(self._prefix) :] for name in self._state if name.startswith(self._prefix)]

    def read(self, name: str, facts: Mapping[str, str], wanted: Callable[[str], bool] = _everything) -> Arrays | None:
        if self._prefix + name not in self._state:
            return None
        record = self._state.array_records[self._prefix + name]
        return {key: value.numpy() for key, value in record.items() if wanted(key)}

    def write(self, name: str, arrays: Arrays, facts: Mapping[str, str]) -> None:
        values = {key: Array(np.ascontiguousarray(value)) for key, value in arrays.items()}
        self._state[self._prefix + name] = ArrayRecord(values)

    def remove(self, name: str) -> None:
        self._state.pop(self._prefix + name, None)


def open_store(context: Context, state: str, device: int) -> StateStore:
    """What a device of this node keeps under the name ``state``."""
    folder = context.node_config.get(DEVICE_DIR)
    if folder:
        return FolderStore(_states(str(folder)) / state / f"{device:06d}")
    return ContextStore(context.state, f"{state}/{device:06d}/")


def forget(context: Context, state: str) -> None:
    """Remove what the devices of this node keep under the name ``state``."""
    folder = context.node_config.get(DEVICE_DIR)
    if folder:
        shutil.rmtree(_states(str(folder)) / state, ignore_errors=True)
    for name in [name for name in context.state if name.startswith(f"{state}/")]:
        del context.state[name]


def _states(folder: str) -> Path:
    return Path(folder) / "devices"
