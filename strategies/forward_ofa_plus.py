"""DUET+ and Forward-OFA+: methods of ours that beat a well-trained DeviceRec. They are not in the paper.

The paper's full-rank heads have 8.1 million weights. They overfit the histories of a thousand users before they rank as
well as a converged DeviceRec. Seven changes:

* **Low rank.** Every device's network is a shared one, changed in 16 directions a layer and by a shift of each bias
  (:mod:`models.hypernetwork`).
* **Warm start** (Forward-OFA+). It begins with the trained DUET+: the weights are trained to adapt before the structure
  is (as in Cai et al. 2020, whose large network is trained before the small ones in it). DUET+ itself begins with
  nothing: with a thousand users a shared network that has converged by itself gains half as much (``duet-plus-warm``).
* **Dropout of what the mapper reads**: of items of the history, and of numbers of the latent interest.
* **One model for every budget** (Forward-OFA+). In training windows get a budget of blocks, small ones more often, and
  keep the most probable blocks within it; the extractor of the latent interest starts from the path that really runs.
* **A stem** (Forward-OFA+). Every path has the first block. A budget of one block then means one well-trained network
  and not one of six, and the other blocks always read the first one's output.
* **First the choice, then the weights for it** (Forward-OFA+). The controller is trained for :data:`SEARCH` epochs;
  then it stays as it is, and the weights are trained on the paths that devices run.
* **In-place distillation** (Forward-OFA+; Yu and Huang 2019). Every window runs twice: within a budget, and through all
  blocks (later: all blocks of its path). The targets train the second run. The final states of the first are trained
  towards those of the second.

Where the histories show users of different kinds, the extractor is taught to tell them (:mod:`strategies.kinds`).

In place of the compact constraint, which drives all devices to the same blocks:

* **A ceiling on the mean path.** Where the controller would keep more, all keep-logits are lowered by one number before
  the model is validated and deployed, so that devices run 77 % of the blocks in the mean, those of the highest logits.
* **A reward for paths that differ**: the log-determinant of the covariance of the keep-probabilities over a batch. It
  grows when some devices keep a block and others do not, and when blocks are not all kept or dropped together.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.backbones.base import Backbone
from models.checkpoint import load_device, load_mapper
from models.cloud_models import AdaptiveModel
from models.delivery import How
from models.device_part import DevicePart, chosen_path, logistic
from models.hypernetwork import RANK, LowRankMapper, block_weights
from models.kernels.dropout import dropout
from models.kernels.precision import product_type
from models.kernels.softmax_loss import full_softmax_loss
from strategies import kinds
from strategies.adaptive import AdaptiveStrategy
from strategies.kinds import Kinds, change_interest, others_items
from strategies.training.data import TrainingSet
from strategies.training.learner import Learner, Recipe
from strategies.training.windows import Batch

HISTORY_DROPOUT, INTEREST_DROPOUT = 0.3, 0.3
"""Dropout rates: of the items that the extractors read, and of the latent interest."""
DIVERSITY = 0.03
"""Weight of the reward for paths that differ in the loss."""
KEEP_SHARE = 0.77
"""Share of the blocks that devices may run in the mean."""
FLOOR = 1e-3
"""Added to the variances: devices that all do the same are penalised, not infinitely."""
KEEP_AT_FIRST = 2.0
"""Keep-logit of a fresh controller."""
ALWAYS_KEEP_LOGIT = 1000.0
"""Keep-logit of the first block for everybody: so high that no gate has a gradient there, so that it stays."""
NOISE, TEMPERATURE = 1 / 3, 0.5
"""Of the gates: factor of the Gumbel noise of equation 4, and tau. With the full noise, blocks are trained on devices
that would not select them, and stop specialising."""
DISTILLATION = 1.0
"""Weight of the mean squared difference of the final states within a budget from those of the whole."""
SEARCH = 4
"""Most epochs in which the controller learns."""
UNBUDGETED_SHARE = 0.5
"""Share of the windows without a budget while the controller learns."""
HIGHEST_RATE, LONGER = 0.005, 2
"""Of DUET+, unless the options say otherwise: the highest learning rate, and how many times the most epochs of the
others it may take. A network that learns to adapt from the beginning needs more epochs than one that does not, and
above this rate it falls apart."""


class PlusLearner(Learner):
    """Extractors, low-rank mapper and (for Forward-OFA+) controller."""

    history_dropout, interest_dropout = HISTORY_DROPOUT, INTEREST_DROPOUT
    pairs = False
    """How the extractor of the latent interest reads, see :class:`models.device_part.Extractor`."""
    kinds: Kinds | None = None
    """Of the users; None where the histories show none."""

    def __init__(self, *, controller: bool) -> None:
        self.controller = controller
        self.networks = 2 if controller else 1
        self.searching = controller
        self.teacher = "duet-plus" if controller else None

    def configure(self, *, protocol: str, backbone: str, dataset: str) -> dict[str, float]:
        """The constants above, the same everywhere."""
        own = {"history_dropout": self.history_dropout, "interest_dropout": self.interest_dropout, "rank": RANK}
        own |= kinds.CONSTANTS
        if self.controller:
            own |= {
                "diversity": DIVERSITY,
                "keep": KEEP_AT_FIRST,
                "noise": NOISE,
                "free": UNBUDGETED_SHARE,
                "stem": ALWAYS_KEEP_LOGIT,
            }
            own |= {"temperature": TEMPERATURE, "floor": FLOOR, "distillation": DISTILLATION, "room": KEEP_SHARE}
            own |= {"search": SEARCH}
        return own

    def adjust(self, recipe: Recipe, given: Collection[str] = ()) -> Recipe:
        """Forward-OFA+, of which most is trained: half the learning rate and half the patience. DUET+ begins with
        nothing, see :data:`HIGHEST_RATE`; where epochs are equal or the options say how many, it takes no more."""
        if self.controller:
            return gently(recipe)
        rate = recipe.learning_rate if "learning_rate" in given else min(recipe.learning_rate, HIGHEST_RATE)
        longer = 1 if "max_epochs" in given or not recipe.patience else LONGER
        return replace(recipe, learning_rate=rate, max_epochs=longer * recipe.max_epochs)

    def search_epochs(self, recipe: Recipe) -> int:
        """How many epochs the controller is trained for; the epochs of the recipe follow, for the weights."""
        return min(recipe.max_epochs, SEARCH) if self.controller and not self.continues else 0

    def before_epoch(self, epoch: int, recipe: Recipe) -> None:
        self.searching = epoch <= self.search_epochs(recipe)

    def study(self, data: TrainingSet, seed: int) -> None:
        """Look for kinds of users."""
        self.kinds = Kinds.found_in(data, seed)
        if self.kinds is not None:
            self.groups, self.spread, self.pairs = self.kinds.groups, kinds.SPREAD, True

    def follow(self, parent: Mapping[str, Tensor]) -> None:
        """A later version reads as the first one does, whatever its own histories show."""
        self.pairs = "device_part.interest.pair.weight" in parent

    def teach(self, teacher: Path) -> None:
        self.known, self.mapper = load_device(teacher), load_mapper(teacher)
        interest = self.known.part.interest
        self.pairs = interest is not None and interest.pair is not None

    def build(self, backbone: Backbone, generator: torch.Generator) -> nn.Module:
        """Forward-OFA+ takes over all that DUET+ has."""
        model = AdaptiveModel(
            backbone, generator, controller=self.controller, structure="path", mapper=LowRankMapper, pairs=self.pairs
        )
        part = model.device_part
        if part.controller is None:
            return model
        assert part.interest is not None
        assert self.known.part.interest is not None
        part.backbone.load_state_dict(self.known.part.backbone.state_dict())
        part.interest.load_state_dict(self.known.part.interest.state_dict())
        model.mapper.load_state_dict(self.mapper.state_dict())
        head = part.controller.head
        with torch.no_grad():
            head.bias.fill_(KEEP_AT_FIRST)
            head.bias[0], head.weight[0] = ALWAYS_KEEP_LOGIT, 0.0
        return model

    def states(
        self, model: nn.Module, batch: Batch, recipe: Recipe, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Every window has its own network, a device of its own; Forward-OFA+ in training two, see :meth:`paths`."""
        assert isinstance(model, AdaptiveModel)
        part, history, others = model.device_part, batch.history, None
        if model.training:
            others = self.others(batch, generator)
            history = self.history(batch, others, generator)
        embedded, windows, lengths = part.embed_history(history), batch.windows, batch.lengths
        path, extra = None, embedded.new_zeros(())
        learning = model.training and self.searching
        if part.controller is not None:
            logits = part.controller(embedded, lengths)
            if model.training:
                path = self.paths(logits, generator)
                windows = torch.cat([windows, windows])
            else:
                path = chosen_path(logits)
            if learning:
                extra = -DIVERSITY * diversity(logits[:, 1:])
        latent, latents = self.interests(part, embedded, lengths, path)
        if self.kinds is not None and others is not None and not self.continues:
            extra = extra + self.kinds.lesson(latents, batch, others)  # a later version would find other kinds
        latent = dropout(latent, self.interest_dropout, model.training)
        states = part.backbone.encode(
            windows.unsqueeze(1),
            block_weights(model.mapper.applied, latent),
            keep=None if learning else path,
            gates=path if learning else None,
            dropout=recipe.dropout if model.training else 0.0,
        )[:, 0]
        if path is None or not model.training:
            return states, extra
        states, whole = states.chunk(2)
        return states, extra + distillation(states, whole, batch, part.backbone.items)

    def others(self, batch: Batch, generator: torch.Generator) -> Tensor | None:
        """Where the extractors read another user's items in training, ``(B, m)``; None if there are no kinds."""
        if self.kinds is None:
            return None
        return others_items(batch.lengths, batch.history.shape[1], kinds.CHANGED, generator)

    def history(self, batch: Batch, others: Tensor | None, generator: torch.Generator) -> Tensor:
        """What the extractors read in training, ``(B, m)``: the history without some of its items."""
        lost = batch.lost(self.history_dropout, generator)
        history = batch.history if others is None else change_interest(batch.history, others)
        return history.masked_fill(lost, 0)

    def interests(
        self, part: DevicePart, embedded: Tensor, lengths: Tensor, path: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """What the mapper reads, ``(B, 64)``, and what it would read after each item, ``(B, longest, 64)``; of two
        paths ``(2 B, ...)``."""
        return part.read(embedded, lengths, None, path)

    def paths(self, logits: Tensor, generator: torch.Generator) -> Tensor:
        """Paths ``(2 B, L)`` from keep-logits ``(B, L)``: each window's within a budget, then each window's whole.

        While the controller learns these are gates, the whole is all blocks, and half of the budgets are no limit.
        Later they are bool, the whole is the path that a device would run, and every window has a budget.
        """
        windows, blocks = logits.shape
        most = budgets(windows, blocks, generator).to(logits.device)
        if not self.searching:
            lowered_logits = logits - logit_offset(logits)
            return torch.cat([chosen_path(lowered_logits, most), chosen_path(lowered_logits)])
        most[torch.rand(windows, generator=generator) < UNBUDGETED_SHARE] = blocks
        noisy = logits + NOISE * logistic(logits, generator)
        soft = torch.sigmoid(noisy / TEMPERATURE)
        # Straight through (equations 4 and 5): a block that is not run has a gradient, too.
        gates = chosen_path(noisy, most).to(soft.dtype) + (soft - soft.detach())
        return torch.cat([gates, torch.ones_like(logits)])

    @contextmanager
    def deployed(self, model: nn.Module, batches: Iterable[Batch]) -> Iterator[None]:
        """Lower the controller's keep-logits while the ``with`` lasts, so that :data:`KEEP_SHARE` of the blocks run."""
        assert isinstance(model, AdaptiveModel)
        part = model.device_part
        if part.controller is None:
            yield
            return
        bias = part.controller.head.bias
        with torch.no_grad():
            keep_logits = [part.controller(part.embed_history(batch.history), batch.lengths) for batch in batches]
            lowered = logit_offset(torch.cat(keep_logits))
            bias.sub_(lowered)
        try:
            yield
        finally:
            with torch.no_grad():
                bias.add_(lowered)


def gently(recipe: Recipe) -> Recipe:
    """For a model of which most is trained: half the learning rate, half the patience."""
    return replace(recipe, learning_rate=recipe.learning_rate / 2, patience=-(-recipe.patience // 2))


def distillation(states: Tensor, whole: Tensor, batch: Batch, items: Tensor) -> Tensor:
    """The loss of the whole's final states ``(B, n, d)`` on the targets, plus a budget's distance from them."""
    bears, wanted, seen, spread = batch.bearing
    loss = full_softmax_loss(
        whole[bears], items, wanted, precision=product_type(items.device), seen=seen, spread=spread
    )
    return loss + DISTILLATION * F.mse_loss(states[bears], whole[bears].detach())


def budgets(windows: int, blocks: int, generator: torch.Generator) -> Tensor:
    """Budgets ``(windows,)`` of 1 block to all but one, small ones more often: of six blocks, 45 % are one block."""
    return (torch.rand(windows, generator=generator) ** 2 * max(1, blocks - 1)).long() + 1


def diversity(logits: Tensor) -> Tensor:
    """Log-determinant of the covariance over devices of the keep-probabilities, from logits ``(B, L)``."""
    covariance = torch.cov(torch.sigmoid(logits).T, correction=0)
    return torch.logdet(covariance + FLOOR * torch.eye(logits.shape[1], device=logits.device))


def logit_offset(logits: Tensor) -> Tensor:
    """The number by which keep-logits ``(D, L)`` are too high for :data:`KEEP_SHARE`; 0 if they are not."""
    return torch.quantile(logits.flatten(), 1 - KEEP_SHARE).clamp(min=0)


class DuetPlus(AdaptiveStrategy):
    """Parameters adapt, the structure does not."""

    name: ClassVar[str] = "duet-plus"
    title: ClassVar[str] = "DUET+"
    note: ClassVar[str] = "DUET whose cloud makes low-rank changes of one network"
    cloud_model: ClassVar[str] = "duet-plus"
    deliveries: ClassVar[tuple[How, ...]] = ("weights", "code", "local")

    @classmethod
    def learner(cls) -> Learner:
        return PlusLearner(controller=False)


class ForwardOFAPlus(AdaptiveStrategy):
    """Structure and parameters adapt; one model serves every budget."""

    name: ClassVar[str] = "forward-ofa-plus"
    title: ClassVar[str] = "Forward-OFA+"
    note: ClassVar[str] = "Forward-OFA whose cloud makes low-rank changes of one network, for any budget"
    cloud_model: ClassVar[str] = "forward-ofa-plus"
    deliveries: ClassVar[tuple[How, ...]] = ("weights", "code", "local")

    @classmethod
    def learner(cls) -> Learner:
        return PlusLearner(controller=True)
