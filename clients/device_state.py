"""What a device remembers from one session to the next: its network, the interest it was made for, its own losses.

It lies where :mod:`clients.state_store` says: in files where the node has a folder of its own, in Flower's context
elsewhere.

What is written in a session is filed under that session's number, and a device that reads in session ``s`` sees what
was filed before ``s`` alone. So a session that is played again, because the run was killed inside its round, finds what
it found the first time. Of the networks, one from before ``s`` is kept beside that of ``s``: a megabyte a device at
most, gone when the method has been played.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from clients.state_store import Arrays, StateStore
from core.errors import Damaged

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


_PENDING, _LOSSES, _NETWORK = "pending", "losses", "network-"


class DeviceState:
    """The state of one device."""

    def __init__(self, store: StateStore, since: int = 0) -> None:
        """``since``: the first session with the model that is installed; a network of an earlier one does not fit."""
        self._store, self._since = store, since

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
        arrays = {"interest": stored.interest, "path": stored.path.astype(np.uint8), **blocks}
        self._store.write(f"{_NETWORK}{stored.session}", arrays, _network_facts(stored.session))
        before = self.adapted(stored.session)
        for session in self._sessions():
            if before is not None and session < before:
                self._store.remove(f"{_NETWORK}{session}")

    def decided(self, session: int) -> bool:
        """Whether what was decided last is the decision of this session."""
        stored = self._store.read(_PENDING, {"kind": "decision"})
        return stored is not None and int(stored["decided"][0]) == session

    def pending(self, session: int) -> PendingDecision:
        """What was decided at the beginning of this session."""
        stored = self._store.read(_PENDING, {"kind": "decision"})
        if stored is None or int(stored["decided"][0]) != session:
            raise LookupError(f"the device holds no decision for session {session}")
        return PendingDecision(session, bool(stored["decided"][1]), stored["interest"])

    def save_pending(self, pending: PendingDecision) -> None:
        """File the decision of a session."""
        decided = np.array([pending.session, pending.asked], dtype=np.int64)
        self._store.write(_PENDING, {"decided": decided, "interest": pending.interest}, {"kind": "decision"})

    def losses(self, first: int, session: int) -> np.ndarray:
        """Losses of the events from session ``first`` until before ``session``, in order, ``(E,)``."""
        sessions, losses = self._log()
        found: np.ndarray = losses[(sessions >= first) & (sessions < session)]
        return found

    def save_losses(self, session: int, losses: np.ndarray) -> None:
        """File the losses of a session's events."""
        sessions, known = self._log()
        earlier = sessions < session
        self._store.write(
            _LOSSES,
            {
                "sessions": np.concatenate([sessions[earlier], np.full(len(losses), session)]).astype(np.int64),
                "losses": np.concatenate([known[earlier], losses]).astype(np.float64),
            },
            {"kind": "losses"},
        )

    def check(self, session: int, adapted: int | None) -> None:
        """Raise :class:`core.errors.Damaged` unless this is the state of the device before ``session``.

        ``adapted`` is the last session in which it adapted, None if it never did.
        """
        for known in self._sessions():
            self._read_network(known)
        self._store.read(_PENDING, {"kind": "decision"})
        self._log()
        if adapted is not None and self.adapted(session) != adapted:
            raise Damaged(f"its network of session {adapted} is missing; ")

    def _log(self) -> tuple[np.ndarray, np.ndarray]:
        stored = self._store.read(_LOSSES, {"kind": "losses"})
        if stored is None:
            return np.zeros(0, dtype=np.int64), np.zeros(0)
        return stored["sessions"], stored["losses"]

    def _sessions(self) -> list[int]:
        return [int(name[len(_NETWORK) :]) for name in self._store.names() if name.startswith(_NETWORK)]

    def _read_network(self, session: int, wanted: Callable[[str], bool] = lambda name: True) -> Arrays:
        stored = self._store.read(f"{_NETWORK}{session}", _network_facts(session), wanted)
        if stored is None:
            raise LookupError(f"the device keeps no network of session {session}")
        return stored


def _network_facts(session: int) -> dict[str, str]:
    return {"kind": "network", "session": str(session)}
