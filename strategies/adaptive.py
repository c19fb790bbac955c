"""The base of the methods that make a network for each device that asks for one."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid

from clients.messages import Decline, DeviceRequest, RequestRules, array_bits, pack_code, pack_network, read_request
from models.checkpoint import load_mapper
from models.cloud_models import Chooser
from models.delivery import WEIGHTS, Delivery, How
from models.hypernetwork import AnyMapper, LowRankMapper, by_device
from models.misrecommendation import Detector
from strategies.base import VERSIONS_AT_ONCE, SessionStrategy
from strategies.expectation import Counts
from strategies.known_interests import KnownInterests
from strategies.wave import DeviceSession, SessionResult, WaveRules


class AdaptiveStrategy(SessionStrategy):
    """Base of the methods that answer a device's request with a network made for it in one forward pass.

    With the delivery ``code`` the answer is a code of it; with ``local`` devices make it themselves and ask nothing.
    """

    adapts: ClassVar[bool] = True
    load: ClassVar[int] = 3
    deliveries: ClassVar[tuple[How, ...]] = ("weights", "local")

    train_action: ClassVar[str] = "train"
    """What devices do to make their request."""

    def __init__(
        self,
        model: Path,
        device_sessions: dict[int, list[DeviceSession]],
        later: Sequence[Path] = (),
        delivery: Delivery = WEIGHTS,
    ) -> None:
        super().__init__(model, device_sessions, later, delivery)
        self._mapper: Callable[[Path], AnyMapper] = lru_cache(maxsize=VERSIONS_AT_ONCE)(load_mapper)
        self.known_interests: KnownInterests | None = None
        """What the cloud knows of latent interests from its training, where it has to estimate what was not sent."""
        self.owed: dict[int, ArrayRecord] = {}
        self.remembered: dict[int, frozenset[int]] = {}
        """Paths of the networks that a device may have kept, as numbers; devices whose first session was played by an
        earlier, killed run are not in it."""

    def begin(self, device_sessions: list[DeviceSession], rules: WaveRules | None = None) -> None:
        super().begin(device_sessions, rules)
        self.owed = {}
        if self.rules.remembers:
            first = [one.node for one in device_sessions if one.session == 0 or one.installs]
            self.remembered.update(dict.fromkeys(first, frozenset()))

    def known(self, nodes: Iterable[int]) -> Mapping[int, Any]:
        return {node: self.remembered[node] for node in nodes if node in self.remembered}

    def recall(self, known: Mapping[int, Any]) -> None:
        self.remembered.update(known)

    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Ask every device of the wave for its request; nothing where devices make their networks themselves."""
        self._ensure_wave(server_round)
        if self.delivery.how == "local":
            return []
        return self._send(self.train_action, lambda result: None)

    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord | None, MetricRecord | None]:
        """Check each request, and make what each device is owed."""
        requests: dict[int, DeviceRequest] = {}

        def read(result: SessionResult, reply: Message) -> None:
            """Note what the device asks for, unless it comes too late."""
            device_session = result.device_session
            asked = read_request(reply, self._request_rules(device_session))
            result.macs_device = asked.macs
            if isinstance(asked, Decline):
                return
            result.probed = asked.probe
            if not asked.probe:
                result.requested, result.bits_up, result.request = True, asked.bits, asked
                result.late = self.rules.late(device_session, asked)
            if not result.late:
                requests[device_session.node] = asked

        self._collect(replies, read)
        models = {node: self.model_for(self.open[node].device_session) for node in requests}
        for model in dict.fromkeys(models.values()):
            self._answer({node: asked for node, asked in requests.items() if models[node] == model}, model)
        return None, MetricRecord({"requests": len(requests)})

    @torch.inference_mode()
    def _answer(self, requests: dict[int, DeviceRequest], model: Path) -> None:
        """One pass of the model's mapper: block by block, for the devices whose path has the block and no others."""
        nodes, mapper = list(requests), self._mapper(model)
        coder = mapper if isinstance(mapper, LowRankMapper) and self.delivery.how == "code" else None
        make = mapper.choose if isinstance(mapper, Chooser) else mapper.block
        paths, sent = (np.stack([getattr(requests[node], name) for node in nodes]) for name in ("path", "latent"))
        latents = torch.from_numpy(sent if self.known_interests is None else self.known_interests.estimate(paths, sent))
        given = [
            dict.fromkeys(np.flatnonzero(path).tolist(), latent) for path, latent in zip(paths, latents, strict=True)
        ]
        for node, mine in zip(nodes, by_device(make if coder is None else coder.codes, given), strict=True):
            path = requests[node].path
            if coder is None:
                coding = self.networks_for(self.open[node].device_session).installed.coding
                self.owed[node] = pack_network(path, {k: block.numpy() for k, block in mine.items()}, coding)
            else:
                self.owed[node] = pack_code(path, mine, coder.pieces, self.delivery.bits)
            if requests[node].probe:
                continue
            self.open[node].bits_down = array_bits(self.owed[node])
            self.open[node].macs_cloud = mapper.macs(len(mine)) if coder is None else coder.code_macs(len(mine))

    def network_for(self, result: SessionResult) -> ArrayRecord | None:
        """What the device asked for; handed over, not kept."""
        return self.owed.pop(result.device_session.node, None)

    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Send each device what it asked for; from then on it may remember it."""
        messages = super().configure_evaluate(server_round, arrays, config, grid)
        for node, result in self.open.items():
            if node in self.remembered and result.sent is not None and not result.probed:
                self.remembered[node] |= {result.sent}
        return messages

    @property
    def playing_action(self) -> str:
        """With ``local`` that of a device that makes its network itself, with the same choice of blocks."""
        if self.delivery.how != "local":
            return super().playing_action
        return f"evaluate.local{self.train_action.removeprefix('train').replace('.', '_')}"

    def paths(self, result: SessionResult) -> Counts:
        """The path that was sent for this session, else what the device remembers; with ``local`` any it can choose."""
        if self.delivery.how == "local":
            part, everything = self.networks_for(result.device_session).installed.part, 2**self.blocks - 1
            return (everything,) if part.controller is None else range(everything + 1)
        if result.sent is not None and not result.probed:
            return (result.sent,)
        if not self.rules.remembers:
            return ()
        return self.remembered.get(result.device_session.node, range(2**self.blocks))

    def adapting_macs(self, device_session: DeviceSession) -> tuple[Counts, ...]:
        """With ``code`` folding what was sent; with ``local`` extractors and mapper, or nothing."""
        installed = self.networks_for(device_session).installed
        if self.delivery.how == "local":
            blocks = range(self.blocks + 1) if installed.part.controller is not None else (self.blocks,)
            extracting = self._extracting(device_session)
            return ((0, *(extracting + installed.making_macs(count) for count in blocks)),)
        result = self.open[device_session.node]
        asked = result.sent is not None and not result.probed
        return ((installed.making_macs((result.sent or 0).bit_count()) if asked else 0,),)

    def deciding_macs(self, device_session: DeviceSession) -> Counts:
        """A device decides when it makes its request, and not while it plays; with ``local`` it does."""
        if self.delivery.how != "local":
            return (0,)
        extracting = self._extracting(device_session)
        return [own + more for own in super().deciding_macs(device_session) for more in (0, extracting)]

    def _extracting(self, device_session: DeviceSession) -> int:
        """Multiply-accumulates of the device's extractors before the session."""
        part = self.networks_for(device_session).installed.part
        return part.request_macs(min(device_session.past, self.history_length))

    def _read_report(self, result: SessionResult, reply: Message) -> None:
        super()._read_report(result, reply)
        if not self.rules.remembers:
            return
        if result.sent is not None and not result.probed:  # it has filed this one, and forgets the others
            self.remembered[result.device_session.node] = frozenset({result.sent})

    def _request_rules(self, device_session: DeviceSession) -> RequestRules:
        """What follows for a device's request from what is installed on it and from how much it has to read."""
        part = self.networks_for(device_session).installed.part
        extracting, deciding = self._extracting(device_session), Detector.macs()
        asked: Collection[int] = {extracting}
        unasked: Collection[int] = {0}
        if self.rules.remembers:
            asked = {extracting, extracting + deciding}
            unasked = {0, deciding, *asked}
        return RequestRules(
            self.blocks,
            everything=part.controller is None,
            latent=np.inf if self.rules.upload.noise else part.latent_bound() * (1 + 1e-5),
            upload=self.rules.upload,
            macs=asked,
            macs_unasked=unasked,
            probes=self.rules.compares,
        )
