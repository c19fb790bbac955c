"""What a device remembers from one session to the next: its network, the interest it was made for, its own losses.

It lies on the device's own disk, a folder per device under the run's ``world/devices``, not in Flower's context: half a
megabyte in there is pickled with every message under Ray, and in the in-process grid it would keep the networks of all
devices in memory. Files appear whole or not at all, and say whose they are (folder, device, session) and carry digests.
They are not flushed to the disk one by one; the simulation does that for all of a round before it files its rows.

What is written in a session is filed under that session's number, and a device that reads in session ``s`` sees what
was filed before ``s`` alone. So a session that is played again, because the run was killed inside its round, finds what
it found the first time. Of the networks, one from before ``s`` is kept beside that of ``s``: a megabyte a device at
most, gone when the method has been played.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core import atomic, sealed
from core.errors import Damaged

FIX = "stop the run, delete the folder of that file and start the run's command again, which plays the method again"

Weights = dict[int, np.ndarray]
"""The blocks of one device's network: number of the block to ``(block_size,)`` float32."""


@dataclass(frozen=True)
class StoredNetwork:
    """The network of an earlier adaptation."""

    session: int
    """In which the device adapted."""
    interest: np.ndarray
    """``(64,)``: the latent interest it was made for."""
    path: np.ndarray
    """``(L,)`` bool."""
    weights: Weights


@dataclass(frozen=True)
class PendingDecision:
    """What the device decided at the beginning of a session, until its network arrives."""

    session: int
    asked: bool
    interest: np.ndarray


_PENDING, _LOSSES = "pending.safetensors", "losses.safetensors"


class DeviceState:
    """The state of one device."""

    def __init__(self, folder: str, device: int, since: int = 0) -> None:
        """``since``: the first session with the model that is installed; a network of an earlier one does not fit."""
        self._folder, self._since = Path(folder) / f"{device:06d}", since

    def adapted(self, session: int) -> int | None:
        """The last session before ``session`` in which the device adapted."""
        return max((s for s in self._sessions() if self._since <= s < session), default=None)

    def interest(self, adapted: int) -> np.ndarray:
        """The latent interest of that adaptation, ``(64,)``."""
        return self._read_network(adapted, lambda name: name == "interest")["interest"]

    def path(self, adapted: int) -> np.ndarray:
        """The path of that adaptation's network, ``(L,)`` bool."""
        return self._read_network(adapted, lambda name: name == "path")["path"].astype(bool)

    def network(self, adapted: int) -> StoredNetwork:
        """The network of that adaptation."""
        stored = self._read_network(adapted)
        interest, path = stored.pop("interest"), stored.pop("path").astype(bool)
        return StoredNetwork(adapted, interest, path, {int(name): value for name, value in stored.items()})

    def save_network(self, stored: StoredNetwork) -> None:
        """File the network of a session, and forget those that no repeated session can need."""
        blocks = {str(k): np.ascontiguousarray(value) for k, value in stored.weights.items()}
        self._write(
            self._network(stored.session),
            {"interest": stored.interest, "path": stored.path.astype(np.uint8), **blocks},
            self._what("network", stored.session),
        )
        before = self.adapted(stored.session)
        for session in self._sessions():
            if before is not None and session < before:
                self._network(session).unlink(missing_ok=True)

    def decided(self, session: int) -> bool:
        """Whether what was decided last is the decision of this session."""
        path = self._folder / _PENDING
        return path.exists() and int(self._read(path, self._what("decision"))["decided"][0]) == session

    def pending(self, session: int) -> PendingDecision:
        """What was decided at the beginning of this session."""
        stored = self._read(self._folder / _PENDING, self._what("decision"))
        number, asked = stored["decided"].tolist()
        if number != session:
            raise LookupError(f"{self._folder} holds a decision for session {number}, not for {session}")
        return PendingDecision(session, bool(asked), stored["interest"])

    def save_pending(self, pending: PendingDecision) -> None:
        """File the decision of a session."""
        decided = np.array([pending.session, pending.asked], dtype=np.int64)
        arrays = {"decided": decided, "interest": pending.interest}
        self._write(self._folder / _PENDING, arrays, self._what("decision"))

    def losses(self, first: int, session: int) -> np.ndarray:
        """Losses of the events from session ``first`` until before ``session``, in order, ``(E,)``."""
        sessions, losses = self._log()
        found: np.ndarray = losses[(sessions >= first) & (sessions < session)]
        return found

    def save_losses(self, session: int, losses: np.ndarray) -> None:
        """File the losses of a session's events."""
        sessions, known = self._log()
        earlier = sessions < session
        self._write(
            self._folder / _LOSSES,
            {
                "sessions": np.concatenate([sessions[earlier], np.full(len(losses), session)]).astype(np.int64),
                "losses": np.concatenate([known[earlier], losses]).astype(np.float64),
            },
            self._what("losses"),
        )

    def check(self) -> None:
        """Raise :class:`core.errors.Damaged` unless all files are this device's and as they were written."""
        for session in self._sessions():
            self._read_network(session)
        if (self._folder / _PENDING).exists():
            self._read(self._folder / _PENDING, self._what("decision"))
        self._log()

    def _log(self) -> tuple[np.ndarray, np.ndarray]:
        path = self._folder / _LOSSES
        if not path.exists():
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        stored = self._read(path, self._what("losses"))
        return stored["sessions"], stored["losses"]

    def _sessions(self) -> list[int]:
        return [int(path.stem.partition("-")[2]) for path in self._folder.glob("network-*.safetensors")]

    def _network(self, session: int) -> Path:
        return self._folder / f"network-{session}.safetensors"

    def _what(self, kind: str, session: int | None = None) -> dict[str, str]:
        facts = {"kind": kind, "of": self._folder.parent.name, "device": self._folder.name}
        return facts if session is None else {**facts, "session": str(session)}

    def _read_network(self, session: int, wanted: Callable[[str], bool] = lambda name: True) -> dict[str, np.ndarray]:
        return self._read(self._network(session), self._what("network", session), wanted)

    @staticmethod
    def _read(
        path: Path, facts: dict[str, str], wanted: Callable[[str], bool] = lambda name: True
    ) -> dict[str, np.ndarray]:
        found, arrays = sealed.read_tensors(path, FIX, wanted)
        sealed.expect(path, found, facts, FIX)
        return arrays

    @staticmethod
    def _write(path: Path, arrays: dict[str, np.ndarray], facts: dict[str, str]) -> None:
        atomic.write(path, sealed.pack_tensors(arrays, facts), durable=False)


def check_states(folder: Path, adapted: dict[int, int], session: int) -> None:
    """Raise :class:`core.errors.Damaged` unless the states in ``folder`` are those of devices before ``session``.

    ``adapted`` has the last session in which each device adapted, of those that ever did.
    """
    for path in sorted(folder.glob("*")):
        DeviceState(str(folder), int(path.name)).check()
    for device, last in adapted.items():
        if DeviceState(str(folder), device).adapted(session) != last:
            raise Damaged(f"{folder}: device {device} lacks its network of session {last}; {FIX}")
