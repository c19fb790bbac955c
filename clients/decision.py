"""The device's decision: does it ask for a new network, and which network does it play with?

With every message the simulation sends the record ``policy``: by which rule the device decides and where it keeps its
state. Without the record a device asks before every session and remembers nothing.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from flwr.app import ConfigRecord, Message

from clients.device_state import DeviceState, PendingDecision, StoredNetwork, Weights
from clients.fields import POLICY_FIELDS, BadMessage, check, shown
from clients.policies import Observation, Policy, make
from models.misrecommendation import Detector, load_detector

POLICY = "policy"


@dataclass(frozen=True)
class PolicyConfig:
    """By what a device decides in one session. The cloud never reads it."""

    name: str
    """``NAME`` or ``NAME:PARAMETER``, see :mod:`clients.policies`."""
    state_folder: str
    """Folder of what the devices remember between sessions."""
    draw: float
    """The device-session's own uniform number."""
    switch: int
    """Sessions since another interest took over, -1 for none; told to the oracle alone."""
    detector: str = ""
    """File of the mis-recommendation detector, if one is installed."""
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
        if "doubt" in needs:
            try:
                _detector(policy.detector)
            except Exception as error:  # what is wrong with a file is for its reader to say, in a type of its choice
                raise BadMessage(f"detector {shown(policy.detector)} cannot be read: {error}") from error
        return policy

    def state(self, device: int) -> DeviceState:
        """What the device remembers of its sessions with the model that is installed."""
        return DeviceState(self.state_folder, device, self.since)

    @property
    def kind(self) -> Policy:
        """The policy itself."""
        return _make(self.name)

    def decision_macs(self, interest_macs: int) -> int:
        """What deciding costs a device that in the end does not ask, ``interest_macs`` being its extractors' share."""
        needs = self.kind.needs
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


def decide(policy: PolicyConfig, device: int, session: int, interest: np.ndarray) -> bool:
    """Whether the device asks for a network, ``interest`` ``(64,)`` being its latent interest; files the decision."""
    state = policy.state(device)
    adapted = state.adapted(session)
    asked = adapted is None or policy.kind.asks(_observation(policy, state, adapted, session, interest))
    state.save_pending(PendingDecision(session, asked, interest))
    return asked


def choose(
    policy: PolicyConfig, device: int, session: int, received: tuple[np.ndarray, Weights] | None
) -> SessionNetworks:
    """The networks of the session: ``received`` (path and blocks) if the device asked for it, else the remembered one.

    A network that was asked for is filed.
    """
    state = policy.state(device)
    adapted = state.adapted(session)
    stale = None if adapted is None else state.network(adapted)
    pending = state.pending(session)
    if received is None or not pending.asked:
        return SessionNetworks(stale, stale, False)
    now = StoredNetwork(session, pending.interest, *received)
    state.save_network(now)
    return SessionNetworks(now, stale, True)


def note_losses(policy: PolicyConfig, device: int, session: int, ranks: np.ndarray, num_items: int) -> None:
    """File the losses of a session's events, from their ranks ``(E,)``, if the policy looks at them."""
    if "losses" in policy.kind.needs:
        policy.state(device).save_losses(session, losses(ranks, num_items))


def losses(ranks: np.ndarray, num_items: int) -> np.ndarray:
    """Loss of each event: the logarithm of its rank, from 0 (first) to 1 (last of all items)."""
    found: np.ndarray = np.log(ranks.astype(np.float64)) / np.log(max(num_items, 2))
    return found


def _observation(
    policy: PolicyConfig, state: DeviceState, adapted: int, session: int, interest: np.ndarray
) -> Observation:
    needs = policy.kind.needs
    sent = state.interest(adapted) if "interest" in needs else interest
    doubt = 0.0
    if "doubt" in needs:
        stale, fresh = (torch.from_numpy(row).unsqueeze(0) for row in (sent, interest))
        doubt = float(_detector(policy.detector).doubt(stale, fresh))
    return Observation(
        since=session - adapted,
        interest=interest,
        sent=sent,
        losses=state.losses(adapted, session) if "losses" in needs else np.zeros(0),
        draw=policy.draw,
        switch=policy.switch,
        doubt=doubt,
    )


@lru_cache(maxsize=1024)
def _make(policy: str) -> Policy:
    return make(policy)


@lru_cache(maxsize=4)
def _detector(file: str) -> Detector:
    return load_detector(Path(file))
