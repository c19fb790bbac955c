"""DUET: a network for each device from its recent behaviour, with the full structure (mapper, no controller).

Lv et al. 2023; in this family of models it is the paper's "+mapper" (Table 2): every block is generated and run.
"""

from typing import ClassVar

from strategies.adaptive import AdaptiveStrategy
from strategies.forward_ofa import AdaptiveLearner
from strategies.training.learner import Learner


class Duet(AdaptiveStrategy):
    """Parameters adapt, the structure does not."""

    name: ClassVar[str] = "duet"
    title: ClassVar[str] = "DUET"
    note: ClassVar[str] = "the cloud makes the weights of every block for each device, in one forward pass"
    cloud_model: ClassVar[str] = "duet"

    @classmethod
    def learner(cls) -> Learner:
        return AdaptiveLearner(controller=False)
