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
    SessionConfig,
    array_bits,
    pack_network,
    read_decline,
    read_measured,
    read_request,
)
from models.checkpoint import load_mapper, read_header
from models.hypernetwork import AnyMapper
from strategies.training.learner import Learner

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class DeviceSession:
    """A device that plays a session in this round."""

    node: int
    """Flower's node id, the only name by which the cloud knows a device."""
    device: int
    session: int


@dataclass
class SessionResult:
    """What happened in one device-session, as the cloud saw it."""

    device_session: DeviceSession
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
    note: ClassVar[str] = ""
    """What it does, in half a sentence for readers of a report; empty: nothing is said."""
    cloud_model: ClassVar[str]
    """The method whose trained model is deployed (its own name, or that of another method)."""
    evaluate_action: ClassVar[str] = "evaluate"
    """What devices do to play a session, see :mod:`clients.app`."""
    adapts: ClassVar[bool] = False
    """Whether devices get or make networks of their own, so that a request policy has something to decide."""

    remembers: ClassVar[bool] = False
    """Whether devices need their state even if they adapt before every session."""

    def __init__(
        self, model: Path, world: Path, device_sessions: dict[int, list[DeviceSession]], seed: int = 0
    ) -> None:
        """``device_sessions`` names, for each round (from 1), who plays; ``seed`` is what devices derive their draws
        from."""
        self.model, self.world, self.device_sessions, self.seed = model, world, device_sessions, seed
        sizes, extra = read_header(model)
        self.blocks, self.context, self.history_length = sizes.blocks, sizes.context, int(str(extra["memory"]))
        self.open: dict[int, SessionResult] = {}

    @classmethod
    @abstractmethod
    def learner(cls) -> Learner:
        """How this method's cloud model is trained."""

    # -- one round -------------------------------------------------------------------------------------------------

    def begin(self, device_sessions: list[DeviceSession]) -> None:
        """Start a wave: the devices that the next four calls are about."""
        self.open = {device_session.node: SessionResult(device_session) for device_session in device_sessions}

    def end(self) -> list[SessionResult]:
        """Close the wave and give what happened, in the order of the seats."""
        results, self.open = list(self.open.values()), {}
        return results

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
            self._message(result.device_session, self.evaluate_action, self.network_for(result))
            for result in self.open.values()
        ]

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Collect measurements; a message that breaks the protocol is named and left out."""
        for reply in replies:
            result = self.open[reply.metadata.src_node_id]
            try:
                result.measured = read_measured(reply)
            except BadMessage as error:
                self._reject(result, error)
        known = [o.measured for o in self.open.values() if o.measured is not None]
        if not known:
            return None
        return MetricRecord({name: float(sum(m[name] for m in known)) for name in ("events", "hits", "ndcg")})

    def summary(self) -> None:
        """Say what this is, in Flower's log."""
        log.info("%s: %d blocks, model %s", self.title, self.blocks, self.model.name)

    # -- for methods -----------------------------------------------------------------------------------------------

    def network_for(self, result: SessionResult) -> ArrayRecord | None:
        """What to send down before a session; nothing by default."""
        return None

    def _message(self, device_session: DeviceSession, action: str, network: ArrayRecord | None = None) -> Message:
        config = SessionConfig(
            device_session.session, str(self.world), str(self.model), self.context, self.history_length, self.seed
        )
        content = RecordDict({SESSION: config.record()})
        if network is not None:
            content[NETWORK] = network
        return Message(content, dst_node_id=device_session.node, message_type=action)

    def _reject(self, result: SessionResult, error: BadMessage) -> None:
        result.problems.append(str(error))
        device_session = result.device_session
        log.warning(
            "%s: device %d, session %d: message rejected: %s",
            self.name,
            device_session.device,
            device_session.session,
            error,
        )

    def _ensure_wave(self, server_round: int) -> None:
        """Under Flower's own ``start()`` nobody calls :meth:`begin`: then a round is one wave."""
        device_sessions = self.device_sessions.get(server_round, [])
        if not self.open or next(iter(self.open.values())).device_session not in device_sessions:
            self.begin(device_sessions)


class AdaptiveStrategy(SessionStrategy):
    """Base of the methods that answer a device's request with a network made for it in one forward pass."""

    adapts: ClassVar[bool] = True

    train_action: ClassVar[str] = "train"
    """What devices do to make their request."""

    def __init__(
        self, model: Path, world: Path, device_sessions: dict[int, list[DeviceSession]], seed: int = 0
    ) -> None:
        super().__init__(model, world, device_sessions, seed)
        self.mapper: AnyMapper = load_mapper(model)
        self.owed: dict[int, ArrayRecord] = {}

    def begin(self, device_sessions: list[DeviceSession]) -> None:
        super().begin(device_sessions)
        self.owed = {}

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask every device of the wave what it wants."""
        self._ensure_wave(server_round)
        return [self._message(result.device_session, self.train_action) for result in self.open.values()]

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Check each request, and make what each device is owed."""
        requests: dict[int, DeviceRequest] = {}
        for reply in replies:
            node = reply.metadata.src_node_id
            result = self.open[node]
            try:
                asked = read_request(reply, self.blocks)
            except BadMessage as error:
                self._reject(result, error)
                continue
            if asked is None:
                result.macs_device = read_decline(reply)
                continue
            requests[node] = asked
            result.macs_device = asked.macs
            if not asked.probe:
                result.requested, result.bits_up = True, asked.bits
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

    def network_for(self, result: SessionResult) -> ArrayRecord | None:
        """What the device asked for; handed over, not kept."""
        return self.owed.pop(result.device_session.node, None)
