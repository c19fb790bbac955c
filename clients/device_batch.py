"""The devices that one call of the ClientApp is about, and what each of them knows before its session begins.

All handlers are written for such a group; a real device is a group of one. Every message is checked before anything is
computed (:func:`honour`): one that cannot be honoured is refused in one line and changes nothing for the others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from torch import Tensor

from clients import depot
from clients.budget import Budget
from clients.decision import DevicePolicy, PolicyConfig
from clients.device_state import DeviceState, Weights
from clients.evaluation import LISTS, Evaluation, negatives, note_lists
from clients.fields import BadMessage, shown
from clients.inference import Beside
from clients.local_data import SessionEvents, open_storage, recent, session_events
from clients.messages import MODEL, NETWORK, ModelConfig, pack_refusal, read_network
from clients.session_config import SIMULATED, SessionConfig
from clients.state_store import open_store
from clients.stream import STREAM, read_stream
from models.checkpoint import Installed
from models.device_part import DevicePart

Records = Mapping[str, ArrayRecord | MetricRecord | ConfigRecord]
"""The records of one reply, by name."""
Needs = Literal["nothing", "interest", "network", "controller", "reference"]
"""What has to be installed on a device for what it is told to do."""
OWN_STREAM = "stream"
"""Key of a node's configuration: a folder with its devices' streams, laid out as the ``world`` of a run folder."""


def reply(message: Message, records: Records) -> Message:
    """The answer to ``message``."""
    return Message(RecordDict(dict(records)), reply_to=message)


@dataclass(frozen=True)
class Order:
    """What one device is told to do, checked, with what it has itself."""

    message: Message
    model: ModelConfig
    config: SessionConfig
    past: np.ndarray
    """``(P,)``: all items of the device from before its session."""
    now: np.ndarray
    """``(R,)``: the items of the session."""
    policy: DevicePolicy | None
    """By what it decides whether to adapt; None: it always does, and remembers nothing."""
    received: tuple[np.ndarray, Weights] | None
    """Path ``(L,)`` bool and blocks of the network that came with it."""


class DeviceBatch:
    """``D`` devices with one session each, which have the same model installed, compute in the same precision and are
    measured alike."""

    def __init__(self, orders: list[Order], installed: Installed, folder: Path | None) -> None:
        """``folder`` is the devices' own, or None."""
        self.messages = [order.message for order in orders]
        self.configs = [order.config for order in orders]
        self.devices = [config.device for config in self.configs]
        self.budgets: list[Budget] = [config.budget for config in self.configs]
        self.policies = [order.policy for order in orders]
        self.received = [order.received for order in orders]
        self.past = [order.past for order in orders]
        self.during = [order.now for order in orders]
        self.installed = installed
        self.part: DevicePart = installed.part
        self.context, self.history_length = orders[0].model.context, orders[0].model.history_length
        self.evaluation = self.configs[0].evaluation
        self._folder = folder

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def blocks(self) -> int:
        """How many the backbone has."""
        return self.part.backbone.blocks

    @cached_property
    def history(self) -> tuple[Tensor, Tensor]:
        """What the extractors read: the recent items, right-padded ``(D, m)``, and how many there are ``(D,)``."""
        return recent(self.past, self.history_length)

    @cached_property
    def events(self) -> SessionEvents:
        """The events of the session to play."""
        return session_events(self.past, self.during, self.context, self.installed.candidates)

    @cached_property
    def beside(self) -> Beside:
        """What is measured in the session beside the ranks among all candidates."""
        count, sampled = self.evaluation.sampled, None
        if count:
            drawn = [
                negatives(
                    count,
                    self.part.backbone.num_items,
                    config.seed,
                    device,
                    config.session,
                    np.concatenate([past, now]),
                    targets[: len(now)],
                    unseen=self.installed.candidates == "unseen",
                )
                for device, config, past, now, targets in zip(
                    self.devices, self.configs, self.past, self.during, self.events.targets.numpy(), strict=True
                )
            ]
            sampled = torch.zeros(*self.events.targets.shape, count, dtype=torch.long)
            for row, mine in enumerate(drawn):
                sampled[row, : len(mine)] = torch.from_numpy(mine)
        return Beside(sampled, bool(self.evaluation.lists) and self._folder is not None)

    def note_lists(self, lists: Tensor) -> None:
        """File what the devices recommended, ``(D, R, 10)``, on their own disks."""
        assert self._folder is not None
        folder = self._folder / LISTS / self.evaluation.lists
        note_lists(folder, self.devices, [config.session for config in self.configs], lists)

    def replies(self, records: list[Records]) -> list[Message]:
        """One answer per device, in their order."""
        return [reply(message, mine) for message, mine in zip(self.messages, records, strict=True)]


def honour(
    handler: Callable[[DeviceBatch], list[Message]],
    messages: list[Message],
    contexts: list[Context],
    needs: Needs = "nothing",
    network: bool = False,
) -> list[Message]:
    """Answer each message on its own terms: by ``handler``, or by a refusal if it breaks the protocol.

    Devices go to the handler together where their messages name the same model, evaluation and precision. ``network``
    says whether one may come with the message. Raises :class:`clients.depot.NotInstalled` for files that a message
    needs and that the machine lacks; then nothing was done.
    """
    replies: dict[int, Message] = {}
    groups: dict[tuple[ModelConfig, Evaluation, int, str, Path | None], list[int]] = {}
    orders: dict[int, Order] = {}
    missing: set[str] = set()
    for row, (message, context) in enumerate(zip(messages, contexts, strict=True)):
        try:
            order = _read(message, context, needs, network)
        except BadMessage as error:
            replies[row] = reply(message, pack_refusal(str(error)))
            continue
        except depot.NotInstalled as error:
            missing.update(error.digests)
            continue
        orders[row] = order
        where = depot.depot(context), depot.own_folder(context)
        groups.setdefault((order.model, order.config.evaluation, order.config.budget.bits, *where), []).append(row)
    if missing:
        raise depot.NotInstalled(*sorted(missing))
    for (model, _, bits, folder, own), rows in groups.items():
        batch = DeviceBatch([orders[row] for row in rows], depot.model(folder, model.digest).at(bits), own)
        replies.update(zip(rows, handler(batch), strict=True))
    return [replies[row] for row in range(len(messages))]


def _read(message: Message, context: Context, needs: Needs, network: bool) -> Order:
    """Check a message against the protocol, and against what is on the device."""
    if not message.has_content():
        raise BadMessage("the message has no content")
    if unknown := sorted(set(message.content) - SIMULATED - {MODEL, NETWORK}):
        raise BadMessage(f"the record {shown(unknown[0])} is none that the protocol names")
    model, config = ModelConfig.of(message), SessionConfig.of(message)
    try:
        installed = depot.model(depot.depot(context), model.digest).at(config.budget.bits)
        policy = _policy(config.policy, config.device, context)
        decided = True
        if policy is not None and network and installed.fetches:
            decided = policy.state.decided(config.session)
    except depot.NotInstalled:
        raise
    except Exception as error:  # what is wrong with a file is for its reader to say, in a type of its choice
        raise BadMessage(f"a file that is installed on the device cannot be read: {error}") from error
    part = installed.part
    there = {
        "nothing": True,
        "interest": part.interest is not None,
        "network": installed.network is not None and not installed.fetches,
        "reference": installed.reference is not None,
        "controller": part.controller is not None and installed.network is not None,
    }
    if not there[needs]:
        raise BadMessage(f"the installed model has no {needs} for this")
    if model.context != part.backbone.context:
        raise BadMessage(f"context is {model.context}, the installed model reads {part.backbone.context} items")
    past, now = _stream(message, context, config, part.backbone.num_items)
    if installed.reference is not None:
        _check_types(config.types, len(now), installed.reference.types)
    received = None
    if NETWORK in message.content:
        if not network or not installed.fetches:
            raise BadMessage("a network comes with a message that needs none")
        received = read_network(message, part.backbone.blocks, installed.coding)
    if not decided:
        raise BadMessage(f"session is {config.session}, for which the device has decided nothing yet")
    return Order(message, model, config, past, now, policy, received)


def _check_types(types: np.ndarray | None, events: int, known: int) -> None:
    """Raise :class:`BadMessage` unless a reference with tables of ``known`` types is told one for each event."""
    if known and types is None:
        raise BadMessage("the record 'types' is missing, which the installed tables by type need")
    if types is not None and len(types) != events:
        raise BadMessage(f"types has {len(types)} entries, the session has {events} interactions")
    if known and types is not None and types.max() > known:
        raise BadMessage(f"types holds {types.max()}, the installed tables are of types 1 to {known}")


def _policy(config: PolicyConfig | None, device: int, context: Context) -> DevicePolicy | None:
    """The policy, with the device's state and the detector that it needs."""
    if config is None:
        return None
    state = DeviceState(open_store(context, config.state, device), config.since)
    needed = "doubt" in config.kind.needs
    return DevicePolicy(config, state, depot.detector(depot.depot(context), config.detector) if needed else None)


def _stream(message: Message, context: Context, config: SessionConfig, num_items: int) -> tuple[np.ndarray, np.ndarray]:
    """The items before the session and in it: from the device's own file if there is one, else from the message."""
    own = context.node_config.get(OWN_STREAM)
    if not own:
        if STREAM not in message.content:
            raise BadMessage(f"the record '{STREAM}' is missing, and the device has no stream of its own")
        return read_stream(message.content[STREAM], num_items)
    try:
        storage = open_storage(str(own))
    except Exception as error:
        raise BadMessage(f"the device's own stream cannot be read: {error}") from error
    if not storage.has(config.device, config.session):
        raise BadMessage(f"session is {config.session}, which device {config.device} does not have")
    return storage.before(config.device, config.session), storage.during(config.device, config.session)
