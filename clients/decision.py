"""The device's decision: does it ask for a new network, and which network does it play with?

With every message the simulation sends the record ``policy``: by which rule the device decides and under which name it
keeps its state. Without the record a device asks before every session and remembers nothing.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from flwr.app import ConfigRecord, Message

from clients.device_state import DeviceState, PendingDecision, StoredNetwork, Weights
from clients.fields import POLICY_FIELDS, BadMessage, check, check_digest, check_name, shown
from clients.policies import Observation, Policy, make
from models.misrecommendation import Detector

POLICY = "policy"


@dataclass(frozen=True)
class PolicyConfig:
    """By what a device decides in one session. The cloud never reads it."""

    name: str
    """``NAME`` or ``NAME:PARAMETER``, see :mod:`clients.policies`."""
    state: str
    """Name under which the devices keep what they remember between sessions."""
    draw: float
    """The device-session's own uniform number."""
    switch: int
    """Sessions since another interest took over, -1 for none; told to the oracle alone."""
    detector: str = ""
    """SHA-256 of the mis-recommendation detector's file, if one is installed."""
    compare: bool = False
    """The simulator's own measurement: play the session with the stale and with the fresh network, whatever the device
    decides. What that needs is exchanged outside the device's costs."""
    since: int = 0
    """The device's first session with the model that is installed."""

    def record(self) -> ConfigRecord:
        """As it travels from the simulation to the device."""
        return ConfigRecord(dict(vars(self)))

    @staticmethod
    def of(message: Message) -> "PolicyConfig | None":
        """The record that came with a message, if any; raises :class:`clients.fields.BadMessage`."""
        if POLICY not in message.content:
            return None
        policy = PolicyConfig(**check(POLICY, message.content[POLICY], POLICY_FIELDS))
        try:
            needs = policy.kind.needs
        except (KeyError, ValueError) as error:
            raise BadMessage(f"name is no request policy: {shown(policy.name)}") from error
        check_name("state", policy.state)
        if policy.detector or "doubt" in needs:
            check_digest("detector", policy.detector)
        return policy

    @property
    def kind(self) -> Policy:
        """The policy itself."""
        return _make(self.name)


@dataclass(frozen=True)
class DevicePolicy:
    """The request policy of one device in one session, with what the device remembers and has installed for it."""

    config: PolicyConfig
    state: DeviceState
    """Of the device's sessions with the model that is installed."""
    detector: Detector | None = None
    """The mis-recommendation detector, where the policy needs one."""

    def decision_macs(self, session: int, interest_macs: int) -> int:
        """What deciding costs, ``interest_macs`` being what the extractors take where nothing is sent for them.

        Nothing for a device that has no network yet, since it has nothing to decide.
        """
        if self.state.adapted(session) is None:
            return 0
        needs = self.config.kind.needs
        return interest_macs * ("interest" in needs) + Detector.macs() * ("doubt" in needs)


@dataclass(frozen=True)
class SessionNetworks:
    """The networks of one device-session; None where there is none."""

    now: StoredNetwork | None
    """What the device plays with."""
    stale: StoredNetwork | None
    """From its last adaptation before this session."""
    adapted: bool
    """Whether ``now`` was made for this session."""


def decide(policy: DevicePolicy, session: int, interest: np.ndarray) -> bool:
    """Whether the device asks for a network, ``interest`` ``(64,)`` being its latent interest; files the decision."""
    adapted = policy.state.adapted(session)
    asked = adapted is None or policy.config.kind.asks(_observation(policy, adapted, session, interest))
    policy.state.save_pending(PendingDecision(session, asked, interest))
    return asked


def choose(policy: DevicePolicy, session: int, received: tuple[np.ndarray, Weights] | None) -> SessionNetworks:
    """The networks of the session: ``received`` (path and blocks) if the device asked for it, else the remembered one.

    A network that was asked for is filed.
    """
    adapted = policy.state.adapted(session)
    stale = None if adapted is None else policy.state.network(adapted)
    pending = policy.state.pending(session)
    if received is None or not pending.asked:
        return SessionNetworks(stale, stale, False)
    now = StoredNetwork(session, pending.interest, *received)
    policy.state.save_network(now)
    return SessionNetworks(now, stale, True)


def note_losses(policy: DevicePolicy, session: int, ranks: np.ndarray, num_items: int) -> None:
    """File the losses of a session's events, from their ranks ``(E,)``, if the policy looks at them."""
    if "losses" in policy.config.kind.needs:
        policy.state.save_losses(session, losses(ranks, num_items))


def losses(ranks: np.ndarray, num_items: int) -> np.ndarray:
    """Loss of each event: the logarithm of its rank, from 0 (first) to 1 (last of all items)."""
    found: np.ndarray = np.log(ranks.astype(np.float64)) / np.log(max(num_items, 2))
    return found


def _observation(policy: DevicePolicy, adapted: int, session: int, interest: np.ndarray) -> Observation:
    config, state = policy.config, policy.state
    needs = config.kind.needs
    sent = state.interest(adapted) if "interest" in needs else interest
    doubt = 0.0
    if policy.detector is not None:
        stale, fresh = (torch.from_numpy(row).unsqueeze(0) for row in (sent, interest))
        doubt = float(policy.detector.doubt(stale, fresh))
    return Observation(
        since=session - adapted,
        interest=interest,
        sent=sent,
        losses=state.losses(adapted, session) if "losses" in needs else np.zeros(0),
        draw=config.draw,
        switch=config.switch,
        doubt=doubt,
    )


@lru_cache(maxsize=1024)
def _make(policy: str) -> Policy:
    return make(policy)
