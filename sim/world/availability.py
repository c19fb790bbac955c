"""How much of its compute a device has in each session, since other applications use the rest.

Either a two-state Markov chain per device over its sessions (idle, busy), or a trace from a file. The chain's draws are
derived from (seed, device, session), so that neither the order of play nor other devices change them.
"""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.errors import UserError
from core.seeds import derive

TRACE_COLUMNS = ["device", "session", "factor"]


def uniform(seed: int, purpose: str, device: int, session: int) -> float:
    """A uniform draw from [0, 1) of one device-session."""
    return derive(seed, purpose, device, session) / 2**63


@dataclass(frozen=True)
class Chain:
    """Two states; a device's first session is drawn from the chain's stationary distribution."""

    busy_factor: float
    """The share of the effective compute that a busy device has left."""
    to_busy: float
    """Chance of being busy in the session after an idle one."""
    to_idle: float
    """Chance of being idle in the session after a busy one."""

    def factors(self, device: int, sessions: int, seed: int) -> np.ndarray:
        """The share of its compute that a device has in each session, ``(sessions,)``."""
        out = np.ones(sessions)
        likely = self.to_busy / (self.to_busy + self.to_idle)
        for session in range(sessions):
            busy = uniform(seed, "availability", device, session) < likely
            out[session] = self.busy_factor if busy else 1.0
            likely = 1 - self.to_idle if busy else self.to_busy
        return out


@dataclass(frozen=True)
class Trace:
    """Recorded factors ``(devices, sessions)``; more devices or sessions than were recorded start again from 0."""

    recorded: np.ndarray

    def factors(self, device: int, sessions: int, seed: int) -> np.ndarray:
        """The share of its compute that a device has in each session, ``(sessions,)``."""
        row = self.recorded[device % len(self.recorded)]
        return np.asarray(row[np.arange(sessions) % len(row)])


def read_trace(path: Path) -> Trace:
    """A CSV file with the columns ``device,session,factor`` (numbers from 0; a factor above 0, at most 1).

    A pair that the file does not name has the factor 1. Raises :class:`UserError` with file and line.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"trace {path} cannot be read: {error}") from None
    if len(lines) < 2 or lines[0] != TRACE_COLUMNS:
        raise UserError(f"trace {path}: the first line must be {','.join(TRACE_COLUMNS)}, with at least one line below")
    known: dict[tuple[int, int], float] = {}
    for number, line in enumerate(lines[1:], start=2):
        try:
            device, session, factor = int(line[0]), int(line[1]), float(line[2])
        except (ValueError, IndexError):
            raise UserError(f"trace {path}, line {number}: expected two whole numbers and a factor") from None
        if device < 0 or session < 0 or not 0 < factor <= 1:
            raise UserError(f"trace {path}, line {number}: numbers count from 0, a factor is above 0 and at most 1")
        known[device, session] = factor
    recorded = np.ones((max(d for d, _ in known) + 1, max(s for _, s in known) + 1))
    for (device, session), factor in known.items():
        recorded[device, session] = factor
    return Trace(recorded)
