"""The cloud's side of a session, as a Flower Strategy.

Flower's own loop is kept (configure_train, aggregate_train, configure_evaluate, aggregate_evaluate), but nothing is
ever aggregated: the train phase asks devices for their requests, the evaluate phase sends each device its own network
and collects what it measured. What a method does not override, it does not do.
"""

import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

from flwr.app import ArrayRecord, ConfigRecord, Message, Metadata, MetricRecord, RecordDict
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Strategy

from clients.fields import BadMessage
from clients.messages import (
    CODE,
    MODEL,
    NETWORK,
    DeviceFault,
    DeviceLost,
    ModelConfig,
    check_answers,
    read_measured,
    sent_path,
)
from models.arithmetic import BITS
from models.checkpoint import device_file, load_device, read_header
from models.delivery import WEIGHTS, Delivery, How
from models.misrecommendation import Detector
from strategies.expectation import Counts, Expectation, Networks
from strategies.training.learner import Learner
from strategies.wave import DeviceSession, SessionResult, Status, WaveRules

log = logging.getLogger(__name__)

VERSIONS_AT_ONCE = 4
"""Versions of a model that are kept open."""


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

    load: ClassVar[int] = 1
    """About how many times as long as DeviceRec's a device-session takes to simulate."""

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
        self._whole_round: int | None = None  # the round that the open wave is; None: it is one that begin() was told

    @classmethod
    @abstractmethod
    def learner(cls) -> Learner:
        """How this method's cloud model is trained."""

    # -- one round -------------------------------------------------------------------------------------------------

    def begin(self, device_sessions: list[DeviceSession], rules: WaveRules | None = None) -> None:
        """Start a wave: the devices that the next four calls are about."""
        self.rules, self._whole_round = rules or WaveRules(), None
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
        if not self.open or self._whole_round not in (None, server_round):
            self.begin(self.device_sessions.get(server_round, []))
            self._whole_round = server_round


def _status(error: BadMessage | DeviceFault) -> Status:
    """Whose fault it is."""
    if isinstance(error, DeviceLost):
        return "lost"
    return "failed" if isinstance(error, DeviceFault) else "rejected"
