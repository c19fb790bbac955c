"""What users of different kinds teach DUET+ and Forward-OFA+, where the histories show that there are any.

What limits DUET+ on users of different kinds is not what its mapper can change: given the true kind in place of the
latent interest, it learns several times as much. The extractor does not find the kind, since next items alone say too
little about it. So kinds of users are looked for in the histories, without labels
(:mod:`strategies.training.kinds`). Where there are none, nothing of this happens. Where there are:

* **A lesson.** The first numbers of the latent interest are trained to tell whose kind is read, after each item: an
  extractor that is asked after the last item alone notices later that a user has changed.
* **Followers of one's own kind.** The part of each target that is spread over what often follows
  (:mod:`strategies.training.followers`) is counted among users of the same kind.
* **Pairs.** The extractor reads each item with the one before it (:class:`models.device_part.Extractor`).
* **Changes of interest.** In a part of the windows all but the latest items are another user's. The extractor learns
  to forget what is no longer true, before a device's user has changed for the first time.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from strategies.training.data import TrainingSet
from strategies.training.kinds import KINDS, kinds_of_users
from strategies.training.windows import Batch

LESSON = 1.0
"""Weight of the kinds in the loss, after the last item and after each one."""
SHARPNESS = 4.0
"""Factor of the latent numbers, which stay within [-1, 1], before the softmax over kinds."""
CHANGED = 0.5
"""Share of the windows whose history begins with another user's."""
OWN_ITEMS = 15
"""Most items of a changed history that are its own: where all but the oldest could be, few changes are recent."""
SPREAD = 0.5
"""Share of each target that is spread, in place of the recipe's: followers of one's own kind are worth more."""
CONSTANTS = {
    "taught": 2,  # raise it when what is taught changes otherwise than by these numbers
    "spread": SPREAD,
    "lesson": LESSON,
    "sharpness": SHARPNESS,
    "changed": CHANGED,
    "own_items": OWN_ITEMS,
    "kinds": KINDS,
}
"""What belongs to the identity of a model that may be taught kinds."""


@dataclass(frozen=True)
class Kinds:
    """The kinds of the users of a training set."""

    chances: Tensor
    """``(U, KINDS)``: how probable each kind is of each user."""

    @classmethod
    def found_in(cls, data: TrainingSet, seed: int) -> "Kinds | None":
        """Those that the histories show; None if they show none."""
        chances = kinds_of_users(data, seed)
        return None if chances is None else cls(torch.from_numpy(chances))

    @property
    def groups(self) -> np.ndarray:
        """``(U,)``: the most probable kind of each user."""
        return np.asarray(self.chances.argmax(dim=1))

    @cached_property
    def certainty(self) -> Tensor:
        """``(U,)``: 1 less the entropy of the kinds as a share of the largest possible."""
        entropy = -(self.chances * self.chances.clamp(min=1e-12).log()).sum(dim=1)
        return (1 - entropy / math.log(KINDS)).clamp(min=0)

    def lesson(self, latents: Tensor, batch: Batch, others: Tensor) -> Tensor:
        """Cross-entropy of the kinds whose items are read, in proportion to their certainty: after the last item, plus
        the mean over all items.

        ``latents`` ``(B, longest, 64)`` are the latent interests after each item, or ``(2 B, longest, 64)`` those of
        two runs one after the other. Where ``others`` ``(B, m)`` says so, the item is of the user of the row before.
        """
        assert batch.users is not None
        users, where, steps = batch.users.to(self.chances.device), latents.device, latents.shape[1]
        runs = len(latents) // len(users)
        kinds = (self.chances[users] * self.certainty[users, None]).to(where)
        wanted = torch.where(others[:, :steps, None].to(where), kinds.roll(1, 0)[:, None], kinds[:, None])
        told = torch.log_softmax(SHARPNESS * latents[..., :KINDS], dim=2)
        missed = -(wanted.repeat(runs, 1, 1) * told).sum(dim=2)
        last = batch.lengths.to(where).repeat(runs) - 1
        read = torch.arange(steps, device=where) <= last[:, None]
        return LESSON * (missed.gather(1, last[:, None]).mean() + missed[read].mean())


def others_items(lengths: Tensor, size: int, share: float, generator: torch.Generator) -> Tensor:
    """Where a ``share`` of the histories, of ``lengths`` ``(B,)``, begin with another's items: ``(B, size)`` bool.

    What stays of a row's own is its newest part, of no item to :data:`OWN_ITEMS`, or to all. With none, the user
    changes after the device has asked: a network is to be of some use to another kind, too.
    """
    rows, real = len(lengths), lengths.cpu()
    chosen = torch.rand(rows, generator=generator) < share
    own = (torch.rand(rows, generator=generator) * (real.clamp(max=OWN_ITEMS) + 1)).long()
    return (torch.arange(size) < (real - own)[:, None]) & chosen[:, None]


def change_interest(history: Tensor, others: Tensor) -> Tensor:
    """Put, where ``others`` ``(B, m)`` says so, the items of the row before into histories ``(B, m)``.

    A place that the other history has no item for is padding.
    """
    return torch.where(others.to(history.device), history.roll(1, 0), history)
