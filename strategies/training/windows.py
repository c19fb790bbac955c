"""Training windows: what the cloud cuts out of the devices' histories.

*Session* windows train the way a device is served: the extractors see the items up to a point, and the network they
lead to predicts the next ``context`` items in a row. *Last* windows are the paper's: one sample for every (prefix, next
item), with the loss at the last position only (``--protocol paper``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from core.seeds import numpy_generator
from models.candidates import Candidates, Seen, repeats
from models.kernels.softmax_loss import Spread
from strategies.training.data import TrainingSet
from strategies.training.followers import Followers


@dataclass(frozen=True)
class Batch:
    """``B`` training windows."""

    windows: Tensor
    """``(B, n)`` item ids, left-padded with 0: what the backbone reads."""
    targets: Tensor
    """``(B, n)``: the next item at each position, 0 where there is no loss: no target, or one that is no candidate."""
    history: Tensor
    """``(B, m)`` item ids, right-padded: what the extractors read; it ends with the item before the first target."""
    lengths: Tensor
    """``(B,)``: real items in ``history``."""
    seen: Seen | None = None
    """``(B, n)``: what the user had interacted with before each target; None: every item is a candidate."""
    followers: Followers | None = None
    """What a part of each target is spread over; None: targets are whole."""
    users: Tensor | None = None
    """``(B,)``: whose windows these are, counted from 0 in the training set."""

    def to(self, device: torch.device) -> "Batch":
        """The same batch on an accelerator."""
        return Batch(
            self.windows.to(device),
            self.targets.to(device),
            self.history.to(device),
            self.lengths.to(device),
            None if self.seen is None else self.seen.to(device),
            None if self.followers is None else self.followers.to(device),
            None if self.users is None else self.users.to(device),
        )

    def part(self, rows: slice) -> "Batch":
        """Some of the windows."""
        return Batch(
            self.windows[rows],
            self.targets[rows],
            self.history[rows],
            self.lengths[rows],
            None if self.seen is None else self.seen[rows],
            self.followers,
            None if self.users is None else self.users[rows],
        )

    def lost(self, share: float, generator: torch.Generator) -> Tensor:
        """Draw which items of the histories dropout takes, ``(B, m)`` bool: each with probability ``share``."""
        return (torch.rand(self.history.shape, generator=generator) < share).to(self.history.device)

    @cached_property
    def bearing(self) -> tuple[Tensor, Tensor, Seen | None, Spread | None]:
        """Where there is a target ``(B, n)`` bool, those ``N`` targets ``(N,)``, and of each what was seen before it
        and what it is spread over."""
        bears = self.targets > 0
        seen = None if self.seen is None else self.seen[bears]
        spread = None if self.followers is None else self.followers.spread(self.windows, bears, self.users)
        return bears, self.targets[bears], seen, spread


class WindowCutter:
    """Cuts the histories into windows, differently in every epoch, and serves them in shuffled batches."""

    def __init__(
        self,
        data: TrainingSet,
        *,
        context: int,
        history_length: int,
        targets: str,
        batch: int,
        seed: int,
        candidates: Candidates = "all",
        spread: float = 0.0,
        groups: np.ndarray | None = None,
    ) -> None:
        """``history_length`` is how many items the extractors read; ``targets`` is ``session`` or ``last``; ``spread``
        is the share of each target that goes to :class:`Followers`, those among users of the same one of ``groups``
        ``(U,)``, if there are any.

        With ``candidates`` ``unseen``, batches say what was seen, and an item that repeats is no target.
        """
        self.data, self.context, self.history_length, self.batch, self.seed = data, context, history_length, batch, seed
        self.last_only = targets == "last"
        # One zero run in front, so that every window and history can be gathered without a bounds check.
        self._pad = max(context, history_length)
        self._items = np.concatenate([np.zeros(self._pad, dtype=np.int64), data.items.astype(np.int64)])
        self._all_items = torch.from_numpy(self._items)
        self._repeats = np.zeros(len(self._items), dtype=bool)
        self._repeats[self._pad :] = candidates == "unseen" and repeats(data.offsets, data.items)
        self._unseen = candidates == "unseen"
        self._followers = Followers.of(data, spread, groups) if spread else None

    def batches(self, epoch: int) -> Iterator[Batch]:
        """All windows of one epoch; the same for the same (seed, epoch)."""
        rng = numpy_generator(self.seed, "windows", epoch)
        users, ends, first = self._cut(rng)
        order = rng.permutation(len(users))
        for start in range(0, len(order), self.batch):
            pick = order[start : start + self.batch]
            yield self._gather(users[pick], ends[pick], first[pick])

    def count(self) -> int:
        """Batches in the first epoch (other epochs differ by a few)."""
        users, _, _ = self._cut(numpy_generator(self.seed, "windows", 0))
        return -(-len(users) // self.batch)

    def validation(self, batch: int) -> Iterator[tuple[Batch, np.ndarray]]:
        """For every user the window before the validation item, and the user indices of the batch.

        The last target is 0 where the validation item is no candidate.
        """
        lengths = np.diff(self.data.offsets)
        users = np.nonzero(lengths > 0)[0]
        for start in range(0, len(users), batch):
            pick = users[start : start + batch]
            out = self._gather(pick, lengths[pick], lengths[pick] - 1)
            wanted = self.data.validation[pick].astype(np.int64)
            if self._unseen:
                pasts = (self.data.items[self.data.offsets[u] : self.data.offsets[u + 1]] for u in pick)
                wanted = np.array([0 if item in past else item for item, past in zip(wanted, pasts, strict=True)])
            out.targets[:, -1] = torch.from_numpy(wanted)
            yield out, pick

    def _cut(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Users, the exclusive ends of the input windows, and the first input position that bears a target."""
        lengths = np.diff(self.data.offsets)
        users = np.nonzero(lengths > 1)[0]
        inputs = lengths[users] - 1  # positions 0 .. inputs - 1 have a next item
        if self.last_only:
            owner = np.repeat(users, inputs)
            position = np.arange(inputs.sum()) - np.repeat(np.cumsum(inputs) - inputs, inputs)
            return owner, position + 1, position
        n = self.context
        phase = rng.integers(0, n, size=len(users))  # the first window ends after 1 .. n inputs
        windows = 1 + np.maximum(-(-(inputs - 1 - phase) // n), 0)
        owner = np.repeat(users, windows)
        index = np.arange(windows.sum()) - np.repeat(np.cumsum(windows) - windows, windows)
        begin = np.repeat(phase, windows) + 1 + n * (index - 1)
        end = np.minimum(begin + n, np.repeat(inputs, windows))
        return owner, end, np.maximum(begin, 0)

    def _gather(self, users: np.ndarray, ends: np.ndarray, first: np.ndarray) -> Batch:
        n, base = self.context, self.data.offsets[users].astype(np.int64)
        positions = ends[:, None] + np.arange(-n, 0)
        windows = np.where(positions >= 0, self._items[self._pad + base[:, None] + positions], 0)
        bears = positions >= first[:, None]
        following = np.minimum(self._pad + base[:, None] + positions + 1, len(self._items) - 1)
        targets = np.where(bears & ~self._repeats[following], self._items[following], 0)
        lengths = np.minimum(first + 1, self.history_length)
        steps = np.arange(self.history_length)
        inside = steps < lengths[:, None]
        source = self._pad + (base + first + 1 - lengths)[:, None] + steps
        history = np.where(inside, self._items[np.minimum(source, len(self._items) - 1)], 0)
        seen = None
        if self._unseen:
            starts = np.broadcast_to(self._pad + base[:, None], positions.shape)
            known = np.where(bears, positions + 1, 0)
            seen = Seen(self._all_items, torch.from_numpy(starts.copy()), torch.from_numpy(known))
        return Batch(
            torch.from_numpy(windows),
            torch.from_numpy(targets),
            torch.from_numpy(history),
            torch.from_numpy(lengths),
            seen,
            self._followers,
            torch.from_numpy(users.astype(np.int64)),
        )
