"""DUET+ and Forward-OFA+ whose extractor is taught which kind of user it reads. They are not in the paper.

What limits DUET+ on users of different kinds is not what its mapper can change: given the true kind in place of the
latent interest, it learns several times as much. The extractor does not find the kind, since next items alone say too
little about it. So three things are added to the training, and one to the device:

* **Kinds of users** are found in the histories, without labels (:mod:`strategies.training.kinds`). The first numbers of
  the latent interest are trained to tell a user's kind; how much a user's kind teaches is how certain it is, so that
  histories without kinds teach nothing.
* **Changes of interest.** In a part of the windows the older part of the history is another user's. The extractor
  learns that what is recent counts, before a device's user has changed for the first time.
* **Pairs.** The extractor reads each item with the one before it (:class:`models.device_part.Extractor`).
"""

import math
from typing import ClassVar

import torch
from torch import Tensor

from models.delivery import How
from strategies.base import AdaptiveStrategy
from strategies.forward_ofa_plus import PlusLearner
from strategies.training.data import TrainingSet
from strategies.training.kinds import KINDS, kinds_of_users
from strategies.training.learner import Learner
from strategies.training.windows import Batch

LESSON = 1.0
"""Weight of the kinds in the loss."""
SHARPNESS = 4.0
"""Factor of the latent numbers, which stay within [-1, 1], before the softmax over kinds."""
CHANGED = 0.5
"""Share of the windows whose history begins with another user's."""


class KindsLearner(PlusLearner):
    """:class:`PlusLearner` with the three additions."""

    history_dropout = 0.1
    pairs: ClassVar[bool] = True
    chances: Tensor
    """``(U, KINDS)``: how probable each kind is of each user."""
    certainty: Tensor
    """``(U,)``: 1 less the entropy of the kinds as a share of the largest possible."""

    def __init__(self, *, controller: bool) -> None:
        super().__init__(controller=controller)
        self.teacher = "duet-kinds" if controller else "devicerec"

    def configure(self, *, protocol: str, backbone: str, dataset: str) -> dict[str, float]:
        own = super().configure(protocol=protocol, backbone=backbone, dataset=dataset)
        return own | {"kinds": KINDS, "lesson": LESSON, "sharpness": SHARPNESS, "changed": CHANGED}

    def study(self, data: TrainingSet, seed: int) -> None:
        self.chances = torch.from_numpy(kinds_of_users(data, seed))
        entropy = -(self.chances * self.chances.clamp(min=1e-12).log()).sum(dim=1)
        self.certainty = (1 - entropy / math.log(KINDS)).clamp(min=0)

    def history(self, batch: Batch, generator: torch.Generator) -> Tensor:
        lost = batch.lost(self.history_dropout, generator)
        return change_interest(batch.history, batch.lengths, CHANGED, generator).masked_fill(lost, 0)

    def lesson(self, latent: Tensor, batch: Batch) -> Tensor:
        """Cross-entropy of the users' kinds, in proportion to their certainty."""
        assert batch.users is not None
        users, runs = batch.users.to(self.chances.device), len(latent) // len(batch.users)
        wanted = (self.chances[users] * self.certainty[users, None]).to(latent.device).repeat(runs, 1)
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


class DuetKinds(AdaptiveStrategy):
    """DUET+ that is taught kinds of users."""

    name: ClassVar[str] = "duet-kinds"
    title: ClassVar[str] = "DUET+ of kinds"
    note: ClassVar[str] = "DUET+ whose extractor is taught the kinds of users that the histories show"
    cloud_model: ClassVar[str] = "duet-kinds"
    deliveries: ClassVar[tuple[How, ...]] = ("weights", "code", "local")

    @classmethod
    def learner(cls) -> Learner:
        return KindsLearner(controller=False)


class ForwardOFAKinds(AdaptiveStrategy):
    """Forward-OFA+ that is taught kinds of users."""

    name: ClassVar[str] = "forward-ofa-kinds"
    title: ClassVar[str] = "Forward-OFA+ of kinds"
    note: ClassVar[str] = "Forward-OFA+ whose extractor is taught the kinds of users that the histories show"
    cloud_model: ClassVar[str] = "forward-ofa-kinds"
    deliveries: ClassVar[tuple[How, ...]] = ("weights", "code", "local")

    @classmethod
    def learner(cls) -> Learner:
        return KindsLearner(controller=True)
