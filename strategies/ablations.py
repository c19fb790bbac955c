"""Forward-OFA and Forward-OFA+ without one of their parts: the paper's Tables 2 and 3.

"+ controller" is :class:`ControllerOnly`. "+ mapper" is :mod:`strategies.duet`: full structure, all weights generated
from the latent interest; it has no name of its own here (the paper's two rows differ by less than its seeds would).
The variants that run other blocks than the controller's deploy the trained model of Forward-OFA or Forward-OFA+: only
which blocks run is different, not how many.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from models.backbones.base import Backbone
from models.cloud_models import StaticModel
from strategies.base import AdaptiveStrategy, DeviceSession, SessionStrategy
from strategies.expectation import Counts
from strategies.forward_ofa import AdaptiveLearner, ForwardOFA
from strategies.forward_ofa_plus import ForwardOFAPlus
from strategies.gates import gate
from strategies.training.learner import Learner, Recipe
from strategies.training.windows import Batch


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
