"""What a device has on its own disk: its interactions, and where its sessions begin and end.

The simulator writes one ``.npy`` per field and every process maps them read-only, so that a thousand devices cost no
more memory than one. A file is checked against its digest once per process, when it is opened.
"""

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from core import sealed
from core.run_folder import WORLD_FIX
from models.candidates import Candidates, Seen, repeats, seen_before


class Storage:
    """The interactions of all simulated devices, opened from the folder the simulator wrote.

    Raises :class:`core.errors.Damaged` if a file is missing or not as it was written.
    """

    def __init__(self, folder: Path) -> None:
        names = ("offsets", "items", "session_offsets", "session_starts")
        arrays = sealed.map_arrays(folder, names, WORLD_FIX)
        self.offsets, self.items, self.session_offsets, self.session_starts = (arrays[name] for name in names)

    def before(self, device: int, session: int) -> np.ndarray:
        """All items the device interacted with before the session, oldest first."""
        start = int(self.offsets[device])
        return self.items[start : start + self._bounds(device, session)[0]]

    def during(self, device: int, session: int) -> np.ndarray:
        """The items of the session itself, in order."""
        start = int(self.offsets[device])
        first, end = self._bounds(device, session)
        return self.items[start + first : start + end]

    def has(self, device: int, session: int) -> bool:
        """Whether the device is there and has this session, which is counted from 0."""
        if not 0 <= device < len(self.session_offsets) - 1 or session < 0:
            return False
        return session < int(self.session_offsets[device + 1]) - int(self.session_offsets[device])

    def _bounds(self, device: int, session: int) -> tuple[int, int]:
        index, following = int(self.session_offsets[device]) + session, int(self.session_offsets[device + 1])
        if session < 0 or index >= following:
            raise IndexError(f"device {device} has no session {session}")
        last = index + 1 == following
        end = self.offsets[device + 1] - self.offsets[device] if last else self.session_starts[index + 1]
        return int(self.session_starts[index]), int(end)


@lru_cache(maxsize=4)
def open_storage(folder: str) -> Storage:
    """The storage in ``folder``, opened once per process."""
    return Storage(Path(folder))


def recent(sequences: list[np.ndarray], length: int) -> tuple[Tensor, Tensor]:
    """The last ``length`` items of each sequence, right-padded ``(D, length)``, and how many there are ``(D,)``."""
    out = torch.zeros(len(sequences), length, dtype=torch.long)
    lengths = torch.empty(len(sequences), dtype=torch.long)
    for row, sequence in enumerate(sequences):
        tail = sequence[-length:]
        out[row, : len(tail)] = torch.from_numpy(np.array(tail, dtype=np.int64))
        lengths[row] = len(tail)
    return out, lengths


class SessionEvents(NamedTuple):
    """What the devices of one batch do in their sessions, and what they could have been recommended."""

    windows: Tensor
    """``(D, R, context)``: before each event the most recent items, left-padded with 0."""
    targets: Tensor
    """``(D, R)``: what each event was; 0 where there is none, or where its item is no candidate."""
    seen: Seen | None
    """``(D, R)``: what the device had interacted with before each event; None: every item is a candidate."""

    def predictions(self) -> tuple[Tensor, Tensor, Seen | None]:
        """Where a prediction is judged ``(D, R)`` bool, the items ``(N,)``, and what was seen before each."""
        real = self.targets > 0
        return real, self.targets[real], None if self.seen is None else self.seen[real]


def session_events(
    before: list[np.ndarray], during: list[np.ndarray], context: int, candidates: Candidates
) -> SessionEvents:
    """Cut the sessions ``during`` of ``D`` devices, each after its items from ``before``, into predictions.

    With ``candidates`` ``unseen``, an event whose item the device has interacted with before is no prediction.
    """
    most = max(len(items) for items in during)
    windows = torch.zeros(len(before), most, context, dtype=torch.long)
    targets = torch.zeros(len(before), most, dtype=torch.long)
    for row, (past, now) in enumerate(zip(before, during, strict=True)):
        known = np.concatenate([np.zeros(context, dtype=np.int64), past[-context:], now]).astype(np.int64)
        views = np.lib.stride_tricks.sliding_window_view(known, context)
        first = len(known) - len(now) - context  # the window that ends just before the first event
        windows[row, : len(now)] = torch.from_numpy(views[first : first + len(now)].copy())
        targets[row, : len(now)] = torch.from_numpy(np.asarray(now, dtype=np.int64))
    if candidates == "all":
        return SessionEvents(windows, targets, None)
    whole = [np.concatenate([past, now]) for past, now in zip(before, during, strict=True)]
    offsets = np.cumsum([0, *(len(one) for one in whole)])
    again = repeats(offsets, np.concatenate(whole))
    for row, (end, now) in enumerate(zip(offsets[1:].tolist(), during, strict=True)):
        targets[row, : len(now)][torch.from_numpy(again[end - len(now) : end])] = 0
    known_before = np.array([len(past) for past in before])[:, None] + np.arange(most)
    known_before = np.minimum(known_before, np.diff(offsets)[:, None])
    return SessionEvents(windows, targets, seen_before(whole, known_before))
