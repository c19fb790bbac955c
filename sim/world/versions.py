"""Versions of the cloud's models where it trains again as virtual time goes on: when, and which one a session runs.

Version 0 learns from what lies before the instant of the split by time, version k from everything before k times
``--retrain`` days after it. A device-session runs the latest version that was trained before the session starts.
"""

from dataclasses import dataclass

import numpy as np

from core.errors import UserError
from sim.world.streams import Streams

DAY = 86_400
MOST = 1_000
"""Versions of a run: each is a training."""


@dataclass(frozen=True)
class Versions:
    """V versions and the S sessions that run them."""

    instants: np.ndarray  # (V,) int64 seconds: version k learns from what lies before instants[k]
    of_sessions: np.ndarray  # (S,) int64
    since: np.ndarray  # (S,) int64 number of the first session of the device with this version, from 0

    def __len__(self) -> int:
        return len(self.instants)


def versions(streams: Streams, instant: int, days: float) -> Versions:
    """The versions of a cloud that trains again every so many ``days``, until the last session has started.

    Raises :class:`UserError` if they are more than :data:`MOST`.
    """
    device = streams.session_devices
    starts = streams.times[streams.offsets[device] + streams.session_starts]
    step = max(1, round(days * DAY))
    found = (starts - instant) // step
    count = int(found.max()) + 1
    if count > MOST:
        raise UserError(
            f"--retrain {days:g}: the cloud would train {count:,} times; at most {MOST:,} are played, so give "
            f"{1.1 * (int(starts.max()) - instant) / MOST / DAY:.2g} days or more"
        )
    numbers = np.arange(streams.num_sessions) - streams.session_offsets[device]
    opens = np.ones(streams.num_sessions, dtype=bool)
    opens[1:] = (np.diff(device) != 0) | (np.diff(found) != 0)
    since = numbers[np.maximum.accumulate(np.where(opens, np.arange(streams.num_sessions), 0))]
    return Versions(instant + step * np.arange(count, dtype=np.int64), found, since)
