"""What a device has on its own disk: its interactions, and where its sessions begin and end.

The simulator writes one ``.npy`` per field and every process maps them read-only, so that a thousand devices cost no
more memory than one. A file is checked against its digest once per process, when it is opened.
"""

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core import sealed
from core.run_folder import WORLD_FIX


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


def session_windows(before: list[np.ndarray], during: list[np.ndarray], context: int) -> tuple[Tensor, Tensor]:
    """For every interaction of a session, the ``context`` items before it, and what it was.

    Returns windows ``(D, R, context)``, left-padded with 0, and targets ``(D, R)``, 0 where a device has fewer than R.
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
    return windows, targets
