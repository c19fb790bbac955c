"""The devices that one call of the ClientApp is about, and what each of them knows before its session begins.

All handlers are written for such a group; a real device is a group of one. Every message is checked before anything is
computed (:func:`honour`): one that cannot be honoured is refused in one line and changes nothing for the others.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from torch import Tensor

from clients.budget import BUDGET, Budget
from clients.decision import POLICY, PolicyConfig
from clients.device_state import DeviceState, Weights
from clients.evaluation import EVALUATION, LISTS, Evaluation, negatives, note_lists
from clients.fields import BadMessage, shown
from clients.inference import Beside
from clients.local_data import SessionEvents, Storage, open_storage, recent, session_events
from clients.messages import NETWORK, SESSION, SessionConfig, pack_refusal, read_network
from models.checkpoint import Installed, load_device
from models.device_part import DevicePart

Records = Mapping[str, ArrayRecord | MetricRecord | ConfigRecord]
"""The records of one reply, by name."""
Needs = Literal["nothing", "interest", "network", "controller", "reference"]
"""What has to be installed on a device for what it is told to do."""


def device_of(context: Context) -> int:
    """Which of the simulated devices this node is."""
    return int(context.node_config["partition-id"])


def reply(message: Message, records: Records) -> Message:
    """The answer to ``message``."""
    return Message(RecordDict(dict(records)), reply_to=message)


@dataclass(frozen=True)
class Order:
    """What one device is told to do, checked."""

    message: Message
    device: int
    config: SessionConfig
    budget: Budget
    """What the device can afford today."""
    policy: PolicyConfig | None
    """By what it decides whether to adapt; None: it always does, and remembers nothing."""
    evaluation: Evaluation
    """What the simulator measures besides."""
    received: tuple[np.ndarray, Weights] | None
    """Path ``(L,)`` bool and blocks of the network that came with it."""


class DeviceBatch:
    """``D`` devices with one session each; all of them name the same world, model, lengths and evaluation."""

    def __init__(self, orders: list[Order], installed: Installed) -> None:
        self.messages = [order.message for order in orders]
        self.devices = [order.device for order in orders]
        self.configs = [order.config for order in orders]
        self.budgets = [order.budget for order in orders]
        self.policies = [order.policy for order in orders]
        self.received = [order.received for order in orders]
        self.installed = installed
        self.part: DevicePart = installed.part
        self.context = self.configs[0].context
        self.evaluation = orders[0].evaluation

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def blocks(self) -> int:
        """How many the backbone has."""
        return self.part.backbone.blocks

    @cached_property
    def past(self) -> list[np.ndarray]:
        """All items of each device from before its session."""
        return [self._storage.before(device, config.session) for device, config in self._places]

    @cached_property
    def during(self) -> list[np.ndarray]:
        """The items of each device's session."""
        return [self._storage.during(device, config.session) for device, config in self._places]

    @cached_property
    def history(self) -> tuple[Tensor, Tensor]:
        """What the extractors read: the recent items, right-padded ``(D, m)``, and how many there are ``(D,)``."""
        return recent(self.past, self.configs[0].history_length)

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
        return Beside(sampled, bool(self.evaluation.lists))

    def note_lists(self, lists: Tensor) -> None:
        """File what the devices recommended, ``(D, R, 10)``, on their own disks."""
        folder = Path(self.configs[0].world) / LISTS / self.evaluation.lists
        note_lists(folder, self.devices, [config.session for config in self.configs], lists)

    def replies(self, records: list[Records]) -> list[Message]:
        """One answer per device, in their order."""
        return [reply(message, mine) for message, mine in zip(self.messages, records, strict=True)]

    @cached_property
    def _storage(self) -> Storage:
        return open_storage(self.configs[0].world)

    @property
    def _places(self) -> list[tuple[int, SessionConfig]]:
        return list(zip(self.devices, self.configs, strict=True))


def honour(
    handler: Callable[[DeviceBatch], list[Message]],
    messages: list[Message],
    contexts: list[Context],
    needs: Needs = "nothing",
    network: bool = False,
) -> list[Message]:
    """Answer each message on its own terms: by ``handler``, or by a refusal if it breaks the protocol.

    Devices go to the handler together where their messages name the same world, model, lengths and evaluation.
    ``network`` says whether one may come with the message.
    """
    replies: dict[int, Message] = {}
    groups: dict[tuple[SessionConfig, Evaluation], list[int]] = {}
    orders: dict[int, Order] = {}
    for row, (message, context) in enumerate(zip(messages, contexts, strict=True)):
        try:
            orders[row] = _read(message, device_of(context), needs, network)
        except BadMessage as error:
            replies[row] = reply(message, pack_refusal(str(error)))
            continue
        config = orders[row].config
        shared = replace(config, session=0, seed=0)
        groups.setdefault((shared, orders[row].evaluation), []).append(row)
    for (shared, _), rows in groups.items():
        answers = handler(DeviceBatch([orders[row] for row in rows], _install(shared.model)))
        replies.update(zip(rows, answers, strict=True))
    return [replies[row] for row in range(len(messages))]


def _read(message: Message, device: int, needs: Needs, network: bool) -> Order:
    """Check a message against the protocol, and against what is on the device."""
    if not message.has_content():
        raise BadMessage("the message has no content")
    if unknown := sorted(set(message.content) - {SESSION, BUDGET, POLICY, EVALUATION, NETWORK}):
        raise BadMessage(f"the record {shown(unknown[0])} is none that the protocol names")
    config, budget, policy = SessionConfig.of(message), Budget.of(message), PolicyConfig.of(message)
    evaluation = Evaluation.of(message)
    try:
        installed, storage = _install(config.model), open_storage(config.world)
        decided = True
        if policy is not None and network and installed.network is None:
            decided = DeviceState(policy.state_folder, device).decided(config.session)
    except Exception as error:  # what is wrong with a file is for its reader to say, in a type of its choice
        raise BadMessage(f"a file of the device cannot be read: {error}") from error
    part = installed.part
    there = {
        "nothing": True,
        "interest": part.interest is not None,
        "network": installed.network is not None,
        "reference": installed.reference is not None,
        "controller": part.controller is not None and installed.network is not None,
    }
    if not there[needs]:
        raise BadMessage(f"the installed model has no {needs} for this")
    if config.context != part.backbone.context:
        raise BadMessage(f"context is {config.context}, the installed model reads {part.backbone.context} items")
    if not storage.has(device, config.session):
        raise BadMessage(f"session is {config.session}, which device {device} does not have")
    received = None
    if NETWORK in message.content:
        if not network or installed.network is not None:
            raise BadMessage("a network comes with a message that needs none")
        received = read_network(message, part.backbone.blocks, part.backbone.block_size)
    if not decided:
        raise BadMessage(f"session is {config.session}, for which the device has decided nothing yet")
    return Order(message, device, config, budget, policy, evaluation, received)


@lru_cache(maxsize=8)
def _install(model: str) -> Installed:
    """What is installed on the devices; one copy per process, read-only."""
    return load_device(Path(model))
