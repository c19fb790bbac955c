"""Who plays in a wave, by which rules, and what happened to each of them, as the cloud sees it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from clients.messages import DeviceRequest, Measured
from clients.upload import PLAIN, UploadForm

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
