"""Forward-OFA, Forward-OFA+ and DUET+ without one of their parts: the paper's Tables 2 and 3, and what DUET+ changes.

"+ controller" is :class:`ControllerOnly`. "+ mapper" is :mod:`strategies.duet`: full structure, all weights generated
from the latent interest; it has no name of its own here (the paper's two rows differ by less than its seeds would).
The variants that run other blocks than the controller's deploy the trained model of Forward-OFA or Forward-OFA+: only
which blocks run is different, not how many.

Of DUET+ (:mod:`strategies.forward_ofa_plus`) one change is taken back at a time, or it begins with DeviceRec's trained
network, with a mapper of low or of full rank.
"""

from collections.abc import Callable, Collection
from pathlib import Path
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from models.backbones.base import DIM, Backbone
from models.checkpoint import load_device
from models.cloud_models import AdaptiveModel, StaticModel
from models.device_part import DevicePart
from models.hypernetwork import LowRankMapper, Mapper
from strategies.adaptive import AdaptiveStrategy
from strategies.base import SessionStrategy
from strategies.expectation import Counts
from strategies.forward_ofa import AdaptiveLearner, ForwardOFA
from strategies.forward_ofa_plus import ForwardOFAPlus, PlusLearner, gently
from strategies.gates import gate
from strategies.training.data import TrainingSet
from strategies.training.learner import Learner, Recipe
from strategies.training.windows import Batch
from strategies.wave import DeviceSession


class ControllerLearner(Learner):
    """One set of block weights for everybody, and a controller that gates its blocks."""

    def build(self, backbone: Backbone, generator: torch.Generator) -> nn.Module:
        return StaticModel(backbone, generator, controller=True)

    def states(
        self, model: nn.Module, batch: Batch, recipe: Recipe, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Every window has its own path through the shared blocks: gates sampled in training, decided otherwise."""
        assert isinstance(model, StaticModel)
        part = model.device_part
        assert part.controller is not None
        logits = part.controller(part.embed_history(batch.history), batch.lengths)
        gating = gate(logits, recipe, generator if model.training else None)
        states = part.backbone.encode(
            batch.windows.unsqueeze(1),
            model.block,
            keep=gating.keep,
            gates=gating.gates,
            dropout=recipe.dropout if model.training else 0.0,
        )
        return states[:, 0], gating.penalty


class ControllerOnly(SessionStrategy):
    """Structure adapts, parameters do not: the whole network is installed, a device runs the blocks it chooses."""

    name: ClassVar[str] = "forward-ofa-controller"
    title: ClassVar[str] = "+ controller"
    note: ClassVar[str] = "each device chooses its blocks of one network that is the same for all"
    cloud_model: ClassVar[str] = "forward-ofa-controller"
    evaluate_action: ClassVar[str] = "evaluate.controller"
    chooses: ClassVar[bool] = True

    @classmethod
    def learner(cls) -> Learner:
        return ControllerLearner()

    def adapting_macs(self, device_session: DeviceSession) -> tuple[Counts, ...]:
        """The controller, once a session."""
        return (
            (
                self.networks_for(device_session).installed.part.request_macs(
                    min(device_session.past, self.history_length)
                ),
            ),
        )


class NoStructure(AdaptiveStrategy):
    """The extractor of the latent interest starts from zero instead of the path's logits (equation 9 without beta)."""

    name: ClassVar[str] = "forward-ofa-no-structure"
    title: ClassVar[str] = "w.o. structural vector"
    note: ClassVar[str] = "Forward-OFA whose latent interest knows nothing of the chosen blocks"
    cloud_model: ClassVar[str] = "forward-ofa-no-structure"

    @classmethod
    def learner(cls) -> Learner:
        return AdaptiveLearner(controller=True, structure="none")


class WarmStart(PlusLearner):
    """DUET+ that begins with DeviceRec's trained network and a change of it that is zero."""

    def __init__(self, *, controller: bool = False) -> None:
        super().__init__(controller=controller)
        self.teacher = "devicerec"

    def adjust(self, recipe: Recipe, given: Collection[str] = ()) -> Recipe:
        return gently(recipe)

    def teach(self, teacher: Path) -> None:
        self.known = load_device(teacher)

    def build(self, backbone: Backbone, generator: torch.Generator) -> nn.Module:
        model = super().build(backbone, generator)
        assert isinstance(model, AdaptiveModel)
        model.device_part.backbone.load_state_dict(self.known.part.backbone.state_dict())
        network = self.known.network
        assert network is not None
        assert isinstance(model.mapper, LowRankMapper)
        with torch.no_grad():
            for k in range(backbone.blocks):
                model.mapper.base[k].copy_(network[k][0])
        return model


class FullRank(WarmStart):
    """The same with the heads of DUET, whose change of DeviceRec's network is zero at first, too."""

    def configure(self, *, protocol: str, backbone: str, dataset: str) -> dict[str, float]:
        own = super().configure(protocol=protocol, backbone=backbone, dataset=dataset)
        return own | {"rank": DIM}

    def build(self, backbone: Backbone, generator: torch.Generator) -> nn.Module:
        low_rank = super().build(backbone, generator)
        assert isinstance(low_rank, AdaptiveModel)
        model = AdaptiveModel(
            low_rank.device_part.backbone, generator, controller=False, structure="path", pairs=self.pairs
        )
        assert isinstance(model.mapper, Mapper)
        assert isinstance(low_rank.mapper, LowRankMapper)
        with torch.no_grad():
            for base, head, known in zip(model.mapper.base, model.mapper.heads, low_rank.mapper.base, strict=True):
                base.copy_(known)
                head.zero_()
        return model


class NoDropout(PlusLearner):
    """DUET+ whose extractors read all of the history, and whose mapper reads all of the latent interest."""

    history_dropout, interest_dropout = 0.0, 0.0


class NoKinds(PlusLearner):
    """DUET+ that takes all users for alike."""

    def study(self, data: TrainingSet, seed: int) -> None:
        """Nothing: no kinds are looked for."""


class Shared(PlusLearner):
    """DUET+ whose mapper reads nothing of the interest: all devices get one network, DeviceRec, trained as DUET+ is."""

    def interests(
        self, part: DevicePart, embedded: Tensor, lengths: Tensor, path: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Zero: no gradient reaches what changes the shared network, and the change stays zero."""
        latent, latents = super().interests(part, embedded, lengths, path)
        return 0 * latent, 0 * latents


def duet_plus_without(name: str, title: str, note: str, learner: Callable[[], Learner]) -> type[AdaptiveStrategy]:
    """Make DUET+ without one of its changes, trained by ``learner``; ``title`` and ``note`` stand in tables."""
    own = {
        "__module__": __name__,
        "__doc__": f"{note}.",
        "name": name,
        "title": title,
        "note": note,
        "cloud_model": name,
        "deliveries": ("weights", "local") if isinstance(learner(), FullRank) else ("weights", "code", "local"),
        "learner": classmethod(lambda cls: learner()),
    }
    return type("".join(part.title() for part in name.split("-")), (AdaptiveStrategy,), own)


WarmDuetPlus = duet_plus_without(
    "duet-plus-warm", "with a warm start", "DUET+ that begins with DeviceRec's trained network", WarmStart
)
WarmDuet = duet_plus_without(
    "duet-warm",
    "full rank, warm start",
    "DUET that begins with DeviceRec's trained network, with DUET+'s dropout",
    FullRank,
)
NoDropoutDuetPlus = duet_plus_without(
    "duet-plus-no-dropout",
    "w.o. dropout of interest",
    "DUET+ that is trained on whole histories and latent interests",
    lambda: NoDropout(controller=False),
)
NoKindsDuetPlus = duet_plus_without(
    "duet-plus-no-kinds",
    "w.o. kinds",
    "DUET+ that takes all users for alike, also where histories show kinds",
    lambda: NoKinds(controller=False),
)
SharedDuetPlus = duet_plus_without(
    "duet-plus-shared",
    "w.o. interest",
    "DUET+ whose devices all get one network: DeviceRec, trained as DUET+ is",
    lambda: Shared(controller=False),
)


BLOCK_CHOICES = {
    "random": ("random blocks", "drawn at random"),
    "first": ("first k blocks", "from the front"),
    "last": ("last k blocks", "from the back"),
}
"""How the blocks are chosen in place of the controller: the title of the method, and the end of its note."""


def other_blocks(method: type[AdaptiveStrategy], choice: Literal["random", "first", "last"]) -> type[AdaptiveStrategy]:
    """Make ``method`` without its choice of blocks: a device runs as many, but which ones is decided by ``choice``.

    The devices of the returned class handle ``train.<choice>`` (:mod:`clients.ablations`); they get ``method``'s model.
    """
    title, how = BLOCK_CHOICES[choice]
    own = {
        "__module__": __name__,
        "__doc__": f"{method.title} with as many blocks, {how}.",
        "name": f"{method.name}-{choice}",
        "title": f"+ {title}" if method is ForwardOFAPlus else title,
        "note": f"{method.title} with as many blocks, {how}",
        "train_action": f"train.{choice}",
    }
    return type(f"{choice.title()}{method.__name__}", (method,), own)


RandomForwardOFA = other_blocks(ForwardOFA, "random")
FirstForwardOFA = other_blocks(ForwardOFA, "first")
LastForwardOFA = other_blocks(ForwardOFA, "last")
RandomForwardOFAPlus = other_blocks(ForwardOFAPlus, "random")
FirstForwardOFAPlus = other_blocks(ForwardOFAPlus, "first")
LastForwardOFAPlus = other_blocks(ForwardOFAPlus, "last")
