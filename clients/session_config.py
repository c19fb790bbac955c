"""What the simulation tells a device about one session: which one it is, and what a real device knows of itself.

The cloud neither sends nor reads any of it: the play loop adds these records to what a strategy sends.
"""

from dataclasses import dataclass, field

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message

from clients.budget import BUDGET, Budget
from clients.decision import POLICY, PolicyConfig
from clients.evaluation import EVALUATION, Evaluation
from clients.fields import SESSION_FIELDS, BadMessage, check
from clients.stream import STREAM, TYPES, pack_stream, pack_types, read_types
from clients.upload import PLAIN, UPLOAD, UploadForm

SESSION = "session"
SIMULATED = frozenset({SESSION, STREAM, TYPES, BUDGET, POLICY, EVALUATION, UPLOAD})
"""The records of a session config."""


@dataclass(frozen=True)
class SessionConfig:
    """One session of one simulated device."""

    device: int
    session: int
    seed: int = 0
    """Of the device's own draws, where a method has any."""
    stream: tuple[np.ndarray, np.ndarray] | None = field(default=None, compare=False)
    """Items before the session ``(P,)`` and in it ``(R,)``; None where the device has a file of its own."""
    types: np.ndarray | None = field(default=None, compare=False)
    """Of the user at each event of the session ``(R,)``, from 1; only the devices of an oracle are told."""
    budget: Budget = field(default_factory=Budget)
    """What the device can afford; nothing is limited by default."""
    policy: PolicyConfig | None = None
    """By what it decides whether to adapt; None: it always does, and remembers nothing."""
    evaluation: Evaluation = field(default_factory=Evaluation)
    """What the simulator measures besides."""
    upload: UploadForm = PLAIN
    """In which form it sends its latent interest."""

    def records(self) -> dict[str, ArrayRecord | ConfigRecord]:
        """As it travels from the simulation to the device."""
        records: dict[str, ArrayRecord | ConfigRecord] = {
            SESSION: ConfigRecord({"device": self.device, "session": self.session, "seed": self.seed}),
            BUDGET: self.budget.record(),
            EVALUATION: self.evaluation.record(),
        }
        if self.stream is not None:
            records[STREAM] = pack_stream(*self.stream)
        if self.types is not None:
            records[TYPES] = pack_types(self.types)
        if self.policy is not None:
            records[POLICY] = self.policy.record()
        if self.upload != PLAIN:
            records[UPLOAD] = self.upload.record()
        return records

    @staticmethod
    def of(message: Message) -> "SessionConfig":
        """Check the records that came with a message, but for the stream; raises
        :class:`clients.fields.BadMessage`."""
        if SESSION not in message.content:
            raise BadMessage(f"the record '{SESSION}' is missing")
        return SessionConfig(
            **check(SESSION, message.content[SESSION], SESSION_FIELDS),
            types=read_types(message.content[TYPES]) if TYPES in message.content else None,
            budget=Budget.of(message),
            policy=PolicyConfig.of(message),
            evaluation=Evaluation.of(message),
            upload=UploadForm.of(message),
        )
