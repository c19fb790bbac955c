"""The cloud's side of a session, as a Flower Strategy.

Flower's own loop is kept (configure_train, aggregate_train, configure_evaluate, aggregate_evaluate), but nothing is
ever aggregated: the train phase asks devices for their requests, the evaluate phase sends each device its own network
and collects what it measured. What a method does not override, it does not do.
"""

import logging
from abc import abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Message, Metadata, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from clients.fields import BadMessage
from clients.messages import (
    CODE,
    MODEL,
    NETWORK,
    Decline,
    DeviceFault,
    DeviceLost,
    DeviceRequest,
    Measured,
    ModelConfig,
    RequestRules,
    array_bits,
    check_answers,
    pack_code,
    pack_network,
    read_measured,
    read_request,
    sent_path,
)
from clients.upload import PLAIN, UploadForm
from models.arithmetic import BITS
from models.checkpoint import device_file, load_device, load_mapper, read_header
from models.cloud_models import Chooser
from models.delivery import WEIGHTS, Delivery, How
from models.hypernetwork import AnyMapper, LowRankMapper, by_device
from models.misrecommendation import Detector
from strategies.expectation import Counts, Expectation, Networks
from strategies.known_interests import KnownInterests
from strategies.training.learner import Learner

log = logging.getLogger(__name__)

VERSIONS_AT_ONCE = 4
"""Versions of a model that are kept open."""

Status = Literal["ok", "dropped", "late", "vanished", "rejected", "failed", "lost"]
"""Result of a device-session: ``ok``, or what went wrong.

By the scenario: ``dropped`` (no reply), ``late`` (its request came too late to be answered), ``vanished`` (left
mid-session). By the device: ``rejected`` (a reply that breaks the protocol). By a fault of this program or of its
engine: ``failed`` (the device's program raised an exception or refused a message), ``lost`` (no reply came back).
"""


@dataclass(frozen=True, slots=True)
class DeviceSession:
    """A device that plays a session in this round."""

    node: int
    """The device's address, the only name by which the cloud knows it: Flower's node id, or a number of its own where a
    node stands for several devices."""
    device: int
    session: int
    events: int = 0
    """Predictions of the session: its interactions whose item is a candidate."""
    past: int = 0
    """Interactions of the device before it."""
    repeats: bool = False
    """Whether an item of its past repeats and is no candidate, so that the device learns from fewer of them."""
    version: int = 0
    """Which version of the model is installed on the device, see :mod:`sim.world.versions`."""
    installs: bool = False
    """Whether that version is installed anew for this session, and its bits are counted."""
    bits: int = 32
    """What the device computes in: so is what it has installed, and what is sent to it."""


@dataclass(slots=True)
class SessionResult:
    """What happened in one device-session."""

    device_session: DeviceSession
    status: Status | None = None
    """None as long as the session is not over."""
    problem: str = ""
    """What was wrong, in one line, of a session that ended badly."""
    measured: Measured | None = None
    """What the device reported, or None when nothing valid came back."""
    request: DeviceRequest | None = None
    """What the device asked, as it arrived; None if it asked for nothing."""
    requested: bool = False
    late: bool = False
    """Whether its request came too late to be answered."""
    sent: int | None = None
    """The path of the network that was sent; None if none was."""
    probed: bool = False
    """Whether that network was made for the simulator's comparison, and not for the device."""
    bits_up: int = 0
    bits_down: int = 0
    macs_device: int = 0
    """Multiply-accumulates of the extractors on the device."""
    macs_cloud: int = 0
    bits_installed: int = 0
    """Of the model, if it was installed anew for this session."""


@dataclass(frozen=True)
class WaveRules:
    """What the simulation tells the cloud about a wave, beside who plays."""

    remembers: bool = False
    """Whether devices keep their networks from session to session, as those with a request policy do."""
    compares: bool = False
    """Whether the stale network is compared with the fresh one in every session."""
    sampled: bool = False
    """Whether items are ranked among sampled candidates, too."""
    upload: UploadForm = PLAIN
    """In which form devices send their latent interests."""
    late: Callable[[DeviceSession, DeviceRequest], bool] = lambda device_session, request: False
    """Whether a request arrives too late."""


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

    oracle: ClassVar[bool] = False
    """Whether devices are told the type of their user, which is known in generated data alone and there to no device;
    named in :data:`core.schema.ORACLES`, too."""

    chooses: ClassVar[bool] = False
    """Whether a device may run a part of what is installed, of its own choice."""

    single: ClassVar[str] = ""
    """Why its devices have to compute in single precision; empty: they need not."""

    networks_type: ClassVar[type[Networks]] = Networks
    """What running the networks takes that can be run with what is installed."""

    deliveries: ClassVar[tuple[How, ...]] = ()
    """The ways in which devices can come to networks that are made for them; empty: none are."""

    def __init__(
        self,
        model: Path,
        device_sessions: dict[int, list[DeviceSession]],
        later: Sequence[Path] = (),
        delivery: Delivery = WEIGHTS,
    ) -> None:
        """``device_sessions`` names, for each round (from 1), who plays; ``later`` are the versions of the ``model``
        that take its place as time goes on. A method that makes no networks for devices has no use for ``delivery``."""
        self.model, self.device_sessions = model, device_sessions
        self.later, self.delivery = later, delivery if self.deliveries else WEIGHTS
        installed = lru_cache(maxsize=VERSIONS_AT_ONCE)(lambda path: load_device(path, self.delivery))
        self._networks = lru_cache(maxsize=VERSIONS_AT_ONCE * len(BITS))(
            lambda path, bits: self.networks_type(installed(path).at(bits))
        )
        sizes, extra = read_header(model)
        self.blocks, self.context, self.history_length = sizes.blocks, sizes.context, int(str(extra["memory"]))
        self._device_files: dict[Path, tuple[str, Path]] = {}
        self.open: dict[int, SessionResult] = {}
        self.due: dict[int, Metadata] = {}
        self.rules = WaveRules()

    @classmethod
    @abstractmethod
    def learner(cls) -> Learner:
        """How this method's cloud model is trained."""

    # -- one round -------------------------------------------------------------------------------------------------

    def begin(self, device_sessions: list[DeviceSession], rules: WaveRules | None = None) -> None:
        """Start a wave: the devices that the next four calls are about."""
        self.rules = rules or WaveRules()
        self.open = {device_session.node: SessionResult(device_session) for device_session in device_sessions}
        for result in self.open.values():
            if result.device_session.installs:
                result.bits_installed = self.networks_for(result.device_session).installed.bits
        self.due = {}

    def end(self) -> list[SessionResult]:
        """Close the wave and give what happened, in the order of its devices."""
        results, self.open = list(self.open.values()), {}
        for result in results:
            result.status = result.status or "lost"
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
        """Tell every device of the wave whose session is not over yet to play it."""
        self._ensure_wave(server_round)
        return self._send(self.playing_action, self.network_for)

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> MetricRecord | None:
        """Collect measurements; a reply that breaks the protocol is named and costs its sender this session."""
        self._collect(replies, self._read_report)
        known = [o.measured for o in self.open.values() if o.measured is not None]
        if not known:
            return None
        return MetricRecord({name: float(sum(m[name] for m in known)) for name in ("events", "hits", "ndcg")})

    def summary(self) -> None:
        """Say what this is, in Flower's log."""
        log.info("%s: %d blocks, model %s", self.title, self.blocks, self.model.name)

    # -- between waves ---------------------------------------------------------------------------------------------

    def known(self, nodes: Iterable[int]) -> Mapping[int, Any]:
        """What the cloud knows of these devices from their earlier sessions, by node; nothing by default.

        Waves may be played by copies of the strategy in other processes. What a method carries from one wave to
        another, it gives here and takes in :meth:`recall`; anything else that a wave leaves behind may be lost.
        """
        return {}

    def recall(self, known: Mapping[int, Any]) -> None:
        """Take what :meth:`known` gave in another process."""

    # -- for methods -----------------------------------------------------------------------------------------------

    @property
    def playing_action(self) -> str:
        """What devices do in this run to play a session."""
        return self.evaluate_action

    def model_for(self, device_session: DeviceSession) -> Path:
        """The model that is installed on the device in this session."""
        return self.later[device_session.version - 1] if device_session.version else self.model

    def device_file(self, device_session: DeviceSession) -> tuple[str, Path]:
        """The SHA-256 and the place of the file that is installed on the device in this session."""
        model = self.model_for(device_session)
        if model not in self._device_files:
            self._device_files[model] = device_file(model, self.delivery)
        return self._device_files[model]

    def network_for(self, result: SessionResult) -> ArrayRecord | None:
        """What to send down before a session; nothing by default."""
        return None

    def paths(self, result: SessionResult) -> Counts:
        """The paths that a served device can have run, as numbers: all blocks, or what it chooses among them."""
        everything = 2**self.blocks - 1
        return range(everything + 1) if self.chooses else (everything,)

    def adapting_macs(self, device_session: DeviceSession) -> tuple[Counts, ...]:
        """What making itself a network may take a device (``macs_adapt``): a number in one of these; nothing by
        default."""
        return (range(1),)

    def deciding_macs(self, device_session: DeviceSession) -> Counts:
        """What deciding whether to adapt may take a device while it plays (``macs_decide``)."""
        return (0, Detector.macs()) if self.adapts and self.rules.remembers else (0,)

    # -- sending and reading ---------------------------------------------------------------------------------------

    def networks_for(self, device_session: DeviceSession) -> Networks:
        """What is installed on the device in this session, and what running it takes."""
        return self._networks(self.model_for(device_session), device_session.bits)

    def _send(self, action: str, network: Callable[[SessionResult], ArrayRecord | None]) -> list[Message]:
        """A message to each device whose session is not over; note what they have to answer."""
        messages = []
        models: dict[str, ConfigRecord] = {}  # one record for all devices that have the same model
        for result in self.open.values():
            if result.status is not None:
                continue
            device_session, record = result.device_session, network(result)
            digest, _ = self.device_file(device_session)
            if digest not in models:
                models[digest] = ModelConfig(digest, self.context, self.history_length).record()
            content = RecordDict({MODEL: models[digest]})
            if record is not None:
                content[CODE if self.delivery.how == "code" else NETWORK] = record
                result.sent = sent_path(record)
            messages.append(Message(content, dst_node_id=device_session.node, message_type=action))
        self.due = {message.metadata.dst_node_id: message.metadata for message in messages}
        return messages

    def _collect(self, replies: Iterable[Message], read: Callable[[SessionResult, Message], None]) -> None:
        """Hand the one reply of each device that was asked to ``read``.

        Whatever is wrong with a reply ends its sender's session and nobody else's; so does no reply at all.
        """
        received: dict[int, list[Message]] = {}
        for reply in replies:
            received.setdefault(reply.metadata.src_node_id, []).append(reply)
        due, self.due = self.due, {}
        for node in received:
            if node not in due:
                log.warning("%s: ignored a reply from node %d, which was not asked", self.name, node)
        for node, sent in due.items():
            result, mine = self.open[node], received.get(node, [])
            try:
                if not mine:
                    result.status, result.problem = "lost", "no reply came back"
                    continue
                if len(mine) > 1:
                    raise BadMessage(f"{len(mine)} replies to one message")
                check_answers(mine[0], sent)
                read(result, mine[0])
            except (BadMessage, DeviceFault) as error:
                result.status = _status(error)
                result.problem = str(error)
                where = result.device_session.device, result.device_session.session
                log.warning("%s: device %d, session %d: message %s: %s", self.name, *where, result.status, error)

    def _read_report(self, result: SessionResult, reply: Message) -> None:
        told = read_measured(reply, self.rules.compares, self.rules.sampled)
        device_session = result.device_session
        Expectation(
            device_session.events,
            self.networks_for(device_session),
            self.paths(result),
            self.adapting_macs(device_session),
            self.deciding_macs(device_session),
        ).check(told)
        result.measured, result.status = told, "late" if result.late else "ok"

    def _ensure_wave(self, server_round: int) -> None:
        """Under Flower's own ``start()`` nobody calls :meth:`begin`: then a round is one wave."""
        device_sessions = self.device_sessions.get(server_round, [])
        if not self.open or next(iter(self.open.values())).device_session not in device_sessions:
            self.begin(device_sessions)


def _status(error: BadMessage | DeviceFault) -> Status:
    """Whose fault it is."""
    if isinstance(error, DeviceLost):
        return "lost"
    return "failed" if isinstance(error, DeviceFault) else "rejected"


class AdaptiveStrategy(SessionStrategy):
    """Base of the methods that answer a device's request with a network made for it in one forward pass.

    With the delivery ``code`` the answer is a code of it; with ``local`` devices make it themselves and ask nothing.
    """

    adapts: ClassVar[bool] = True
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
