"""A method of one's own, without touching the package: how personal are the networks that DUET makes?

    python examples/custom_method.py [any option of sim.run]

In `duet-swapped` every device gets the network that the cloud made for another one. A method is registered by its name
in METHODS; the in-process backend runs the cloud in this very process and so knows it.
"""

import sys
from collections.abc import Iterable
from typing import ClassVar

from flwr.app import ArrayRecord, Message, MetricRecord

from sim.config import Config
from sim.run import cli, main
from strategies.duet import Duet
from strategies.registry import METHODS


class Swapped(Duet):
    """DUET's model (its ``cloud_model`` is inherited, so nothing is trained for it), with the answers passed on."""

    name: ClassVar[str] = "duet-swapped"
    title: ClassVar[str] = "DUET, swapped"

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Answer as DUET does, then hand each device's network to the next one of the wave."""
        result = super().aggregate_train(server_round, replies)
        nodes = list(self.owed)
        self.owed = {node: self.owed[nodes[i - 1]] for i, node in enumerate(nodes)}
        return result


METHODS[Swapped.name] = Swapped

if __name__ == "__main__":
    sys.exit(cli(main, str(__doc__), default=Config(methods="devicerec,duet,duet-swapped", devices=100)))
