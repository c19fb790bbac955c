"""LitePred: a subnet for each device, searched under its predicted latency and fine-tuned (the paper's appendix C).

LitePred itself (Feng et al. 2024) is a latency predictor for architecture search. The Forward-OFA paper's Table 7
compares with the search it serves, and says of it that it "matches and finetunes models with device data"; this is our
reading. In the cloud one supernet is trained, whose blocks are shared by all paths: every step trains two paths, one
for each half of its windows, drawn uniformly from those with at least one block. Search and fine-tuning are the
device's business, see :mod:`clients.session.litepred`, and what of the original's predictor is simplified
:mod:`clients.search.latency`. The paper names no latency target: where a device has none, any path may win.
"""

from typing import ClassVar

import torch
from torch import Tensor, nn

from clients.local_training import planned_macs
from clients.session.litepred import most_search_macs
from models.cloud_models import StaticModel
from strategies.base import SessionStrategy
from strategies.devicerec import StaticLearner
from strategies.expectation import Counts
from strategies.training.learner import Learner, Recipe
from strategies.training.windows import Batch
from strategies.wave import DeviceSession


class SupernetLearner(StaticLearner):
    """One set of block weights, of which each share of a step trains another path."""

    def states(
        self, model: nn.Module, batch: Batch, recipe: Recipe, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """A path for all windows in training; for validation, where it may not matter which devices go together, a path
        for each window, the same ones after every epoch."""
        assert isinstance(model, StaticModel)
        backbone = model.device_part.backbone
        devices = 1 if model.training else len(batch.windows)
        paths = random_paths(devices, backbone.blocks, generator).to(batch.windows.device)
        states = backbone.encode(
            batch.windows.view(devices, -1, batch.windows.shape[1]),
            model.block,
            keep=paths,
            dropout=recipe.dropout if model.training else 0.0,
        )
        return states.flatten(0, 1), states.new_zeros(())


def random_paths(count: int, blocks: int, generator: torch.Generator) -> Tensor:
    """``(count, L)`` bool, uniform over all paths with at least one block."""
    drawn = torch.randint(1, 2**blocks, (count, 1), generator=generator)
    return (drawn >> torch.arange(blocks)) % 2 == 1


class LitePred(SessionStrategy):
    """A device looks for its path before its first session and trains it before each; the cloud is not asked."""

    name: ClassVar[str] = "litepred"
    title: ClassVar[str] = "LitePred"
    note: ClassVar[str] = "each device searches its blocks under a predicted latency and trains them locally"
    cloud_model: ClassVar[str] = "litepred"
    single: ClassVar[str] = "its devices train"
    load: ClassVar[int] = 10
    evaluate_action: ClassVar[str] = "evaluate.litepred"
    adapts: ClassVar[bool] = True
    remembers: ClassVar[bool] = True
    chooses: ClassVar[bool] = True

    @classmethod
    def learner(cls) -> Learner:
        return SupernetLearner()

    def adapting_macs(self, device_session: DeviceSession) -> tuple[Counts, ...]:
        """A device spends at most a whole search and the training of all blocks."""
        installed = self.networks_for(device_session).installed
        part, network = installed.part, installed.network
        assert network is not None
        searching = most_search_macs(part, network, device_session.past)
        return (range(searching + planned_macs(part, device_session.past, part.backbone.blocks) + 1),)
