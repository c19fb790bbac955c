"""What users of different kinds teach DUET+ and Forward-OFA+, where the histories show that there are any.

What limits DUET+ on users of different kinds is not what its mapper can change: given the true kind in place of the
latent interest, it learns several times as much. The extractor does not find the kind, since next items alone say too
little about it. So kinds of users are looked for in the histories, without labels
(:mod:`strategies.training.kinds`). Where there are none, nothing of this happens. Where there are:

* **A lesson.** The first numbers of the latent interest are trained to tell a user's kind.
* **Followers of one's own kind.** The part of each target that is spread over what often follows
  (:mod:`strategies.training.followers`) is counted among users of the same kind.
* **Pairs.** The extractor reads each item with the one before it (:class:`models.device_part.Extractor`).
* **Changes of interest.** In a part of the windows the older part of the history is another user's. The extractor
  learns that what is recent counts, before a device's user has changed for the first time.
* **Less dropout.** What tells a kind is read more often, since it is taught.
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
"""Weight of the kinds in the loss."""
SHARPNESS = 4.0
"""Factor of the latent numbers, which stay within [-1, 1], before the softmax over kinds."""
CHANGED = 0.5
"""Share of the windows whose history begins with another user's."""
HISTORY_DROPOUT, INTEREST_DROPOUT = 0.1, 0.0
"""In place of those of :mod:`strategies.forward_ofa_plus`."""
SPREAD = 0.5
"""Share of each target that is spread, in place of the recipe's: followers of one's own kind are worth more."""
CONSTANTS = {"spread": SPREAD, "lesson": LESSON, "sharpness": SHARPNESS, "changed": CHANGED, "kinds": KINDS}
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

    def lesson(self, latent: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of the users' kinds, in proportion to their certainty, from latent interests ``(B, 64)``, or
        those of several runs one after the other."""
        assert batch.users is not None
        users, runs = batch.users.to(self.chances.device), len(latent) // len(batch.users)
        wanted = (self.chances * self.certainty[:, None])[users].to(latent.device).repeat(runs, 1)
        told = torch.log_softmax(SHARPNESS * latent[:, :KINDS], dim=1)
        return -LESSON * (wanted * told).sum(dim=1).mean()


def change_interest(history: Tensor, lengths: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Let a ``share`` of the histories ``(B, m)``, of ``lengths`` ``(B,)``, begin as that of the row before.

    What stays of a row's own is its newest part, of 1 item to all but the oldest; a place that the other history has
    no item for is padding.
    """
    rows, size = history.shape
    chosen = torch.rand(rows, generator=generator) < share
    own = 1 + (torch.rand(rows, generator=generator) * lengths.cpu().float()).long()
    older = torch.arange(size) < (lengths.cpu() - own)[:, None]
    return torch.where((older & chosen[:, None]).to(history.device), history.roll(1, 0), history)
