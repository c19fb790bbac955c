"""The devices that one call of the ClientApp is about, and what each of them knows before its session begins.

All handlers are written for such a group; a real device is a group of one.
"""

from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from torch import Tensor

from clients.budget import Budget
from clients.decision import PolicyConfig
from clients.local_data import Storage, open_storage, recent, session_windows
from clients.messages import SessionConfig
from models.checkpoint import Installed, load_device
from models.device_part import DevicePart

Records = Mapping[str, ArrayRecord | MetricRecord]
"""The records of one reply, by name."""


def device_of(context: Context) -> int:
    """Which of the simulated devices this node is."""
    return int(context.node_config["partition-id"])


def reply(message: Message, records: Records) -> Message:
    """The answer to ``message``."""
    return Message(RecordDict(dict(records)), reply_to=message)


class DeviceBatch:
    """``D`` devices with one session each; all of them name the same world and the same model."""

    def __init__(self, messages: list[Message], contexts: list[Context]) -> None:
        self.messages = messages
        self.devices = [device_of(context) for context in contexts]
        self.configs = [SessionConfig.of(message) for message in messages]
        self.installed: Installed = _install(self.configs[0].model)
        self.part: DevicePart = self.installed.part
        self.context = self.configs[0].context

    def __len__(self) -> int:
        return len(self.messages)

    @property
    def blocks(self) -> int:
        """How many the backbone has."""
        return self.part.backbone.blocks

    @cached_property
    def budgets(self) -> list[Budget]:
        """What each device can afford today."""
        return [Budget.of(message) for message in self.messages]

    @cached_property
    def policies(self) -> list[PolicyConfig | None]:
        """By what each device decides whether to adapt; None: it always does, and remembers nothing."""
        return [PolicyConfig.of(message) for message in self.messages]

    @cached_property
    def past(self) -> list[np.ndarray]:
        """All items of each device from before its session."""
        return [self._storage.before(device, config.session) for device, config in self._places]

    @cached_property
    def history(self) -> tuple[Tensor, Tensor]:
        """What the extractors read: the recent items, right-padded ``(D, m)``, and how many there are ``(D,)``."""
        return recent(self.past, self.configs[0].history_length)

    @cached_property
    def session(self) -> tuple[Tensor, Tensor]:
        """The session to play: windows ``(D, R, context)`` and targets ``(D, R)``."""
        during = [self._storage.during(device, config.session) for device, config in self._places]
        return session_windows(self.past, during, self.context)

    def replies(self, records: list[Records]) -> list[Message]:
        """One answer per device, in their order."""
        return [reply(message, mine) for message, mine in zip(self.messages, records, strict=True)]

    @cached_property
    def _storage(self) -> Storage:
        return open_storage(self.configs[0].world)

    @property
    def _places(self) -> list[tuple[int, SessionConfig]]:
        return list(zip(self.devices, self.configs, strict=True))


@lru_cache(maxsize=8)
def _install(model: str) -> Installed:
    """What is installed on the devices; one copy per process, read-only."""
    return load_device(Path(model))
