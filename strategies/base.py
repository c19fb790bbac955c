"""The cloud's side of a session, as a Flower Strategy.

Flower's own loop is kept (configure_train, aggregate_train, configure_evaluate, aggregate_evaluate), but nothing is
ever aggregated: the train phase asks devices what they want, the evaluate phase sends each device its own network and
collects what it measured. What a method does not override, it does not do.
"""

import logging
from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy
from torch import Tensor

from clients.messages import (
    NETWORK,
    SESSION,
    BadMessage,
    DeviceRequest,
    Order,
    array_bits,
    pack_network,
    read_decline,
    read_measured,
    read_request,
)
from models.adaptation import AnyMapper
from models.checkpoint import load_mapper, read_header
from strategies.training.learner import Learner

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Seat:
    """A device that plays a session in this round."""

    node: int
    """Flower's node id, the only name by which the cloud knows a device."""
    device: int
    session: int


@dataclass
class Outcome:
    """What happened in one device-session, as the cloud saw it."""

    seat: Seat
    measured: dict[str, float] | None = None
    """What the device reported, or None when nothing valid came back."""
    requested: bool = False
    bits_up: int = 0
    bits_down: int = 0
    macs_device: int = 0
    """Multiply-accumulates of the extractors on the device."""
    macs_cloud: int = 0
    problems: list[str] = field(default_factory=list)


class SessionStrategy(Strategy):
    """Base of all methods: every device plays its session with what is installed on it.

    A method is a subclass that names itself, names the cloud model it deploys, and overrides what it does differently.
    """

    name: ClassVar[str]
    """As on the command line."""
    title: ClassVar[str]
    """As in tables."""
    cloud_model: ClassVar[str]
    """The method whose trained model is deployed (its own name, or that of another method)."""
    evaluate_action: ClassVar[str] = "evaluate"
    """What devices do to play a session, see :mod:`clients.app`."""
    adapts: ClassVar[bool] = False
    """Whether devices get or make networks of their own, so that a request policy has something to decide."""

    remembers: ClassVar[bool] = False
    """Whether devices need their memory even if they adapt before every session."""

    def __init__(self, model: Path, world: Path, seats: dict[int, list[Seat]], seed: int = 0) -> None:
        """``seats`` names, for each round (from 1), who plays; ``seed`` is what devices derive their draws from."""
        self.model, self.world, self.seats, self.seed = model, world, seats, seed
        sizes, extra = read_header(model)
        self.blocks, self.context, self.memory = sizes.blocks, sizes.context, int(str(extra["memory"]))
        self.open: dict[int, Outcome] = {}

    @classmethod
    @abstractmethod
    def learner(cls) -> Learner:
        """How this method's cloud model is trained."""

    # -- one round -------------------------------------------------------------------------------------------------

    def begin(self, seats: list[Seat]) -> None:
        """Start a wave: the devices that the next four calls are about."""
        self.open = {seat.node: Outcome(seat) for seat in seats}

    def end(self) -> list[Outcome]:
        """Close the wave and give what happened, in the order of the seats."""
        outcomes, self.open = list(self.open.values()), {}
        return outcomes

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask nothing."""
        self._ensure_wave(server_round)
        return []

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Aggregate nothing."""
        return None, None

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Tell every device of the wave to play its session."""
        self._ensure_wave(server_round)
        return [
            self._message(outcome.seat, self.evaluate_action, self.network_for(outcome))
            for outcome in self.open.values()
        ]

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Collect measurements; a message that breaks the protocol is named and left out."""
        for reply in replies:
            outcome = self.open[reply.metadata.src_node_id]
            try:
                outcome.measured = read_measured(reply)
            except BadMessage as error:
                self._reject(outcome, error)
        known = [o.measured for o in self.open.values() if o.measured is not None]
        if not known:
            return None
        return MetricRecord({name: float(sum(m[name] for m in known)) for name in ("events", "hits", "ndcg")})

    def summary(self) -> None:
        """Say what this is, in Flower's log."""
        log.info("%s: %d blocks, model %s", self.title, self.blocks, self.model.name)

    # -- for methods -----------------------------------------------------------------------------------------------

    def network_for(self, outcome: Outcome) -> ArrayRecord | None:
        """What to send down before a session; nothing by default."""
        return None

    def _message(self, seat: Seat, action: str, network: ArrayRecord | None = None) -> Message:
        order = Order(seat.session, str(self.world), str(self.model), self.context, self.memory, self.seed)
        content = RecordDict({SESSION: order.record()})
        if network is not None:
            content[NETWORK] = network
        return Message(content, dst_node_id=seat.node, message_type=action)

    def _reject(self, outcome: Outcome, error: BadMessage) -> None:
        outcome.problems.append(str(error))
        seat = outcome.seat
        log.warning("%s: device %d, session %d: message rejected: %s", self.name, seat.device, seat.session, error)

    def _ensure_wave(self, server_round: int) -> None:
        """Under Flower's own ``start()`` nobody calls :meth:`begin`: then a round is one wave."""
        seats = self.seats.get(server_round, [])
        if not self.open or next(iter(self.open.values())).seat not in seats:
            self.begin(seats)


class AdaptiveStrategy(SessionStrategy):
    """Base of the methods that answer a device's request with a network made for it in one forward pass."""

    adapts: ClassVar[bool] = True

    train_action: ClassVar[str] = "train"
    """What devices do to make their request."""

    def __init__(self, model: Path, world: Path, seats: dict[int, list[Seat]], seed: int = 0) -> None:
        super().__init__(model, world, seats, seed)
        self.mapper: AnyMapper = load_mapper(model)
        self.owed: dict[int, ArrayRecord] = {}

    def begin(self, seats: list[Seat]) -> None:
        super().begin(seats)
        self.owed = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask every device of the wave what it wants."""
        self._ensure_wave(server_round)
        return [self._message(outcome.seat, self.train_action) for outcome in self.open.values()]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Check each request, and make what each device is owed."""
        requests: dict[int, DeviceRequest] = {}
        for reply in replies:
            node = reply.metadata.src_node_id
            outcome = self.open[node]
            try:
                asked = read_request(reply, self.blocks)
            except BadMessage as error:
                self._reject(outcome, error)
                continue
            if asked is None:
                outcome.macs_device = read_decline(reply)
                continue
            requests[node] = asked
            outcome.macs_device = asked.macs
            if not asked.probe:
                outcome.requested, outcome.bits_up = True, asked.bits
        if requests:
            self._answer(requests)
        return None, MetricRecord({"requests": len(requests)})

    @torch.inference_mode()
    def _answer(self, requests: dict[int, DeviceRequest]) -> None:
        """One pass of the mapper: block by block, for the devices that want the block and no others."""
        nodes = list(requests)
        latent = torch.from_numpy(np.stack([requests[node].latent for node in nodes]))
        paths = torch.from_numpy(np.stack([requests[node].path for node in nodes]))
        weights: list[dict[int, np.ndarray]] = [{} for _ in nodes]
        for k in range(self.blocks):
            rows = paths[:, k].nonzero().squeeze(1)
            if len(rows):
                made: Tensor = self.mapper.block(k, latent[rows])
                for row, value in zip(rows.tolist(), made.numpy(), strict=True):
                    weights[row][k] = value
        for node, mine in zip(nodes, weights, strict=True):
            self.owed[node] = pack_network(requests[node].path, mine)
            if requests[node].probe:
                continue
            self.open[node].bits_down = array_bits(self.owed[node])
            self.open[node].macs_cloud = self.mapper.macs(len(mine))

    def network_for(self, outcome: Outcome) -> ArrayRecord | None:
        """What the device asked for; handed over, not kept."""
        return self.owed.pop(outcome.seat.node, None)
