"""What a device's first month takes: the model that is installed, and the sessions of 30 days.

A month begins with the first event of a device's live stream. To it belong the sessions that begin within 30 days of
that, the model that is installed before the first of them, and the versions that are installed anew for them.
Installing takes the energy of receiving the bits on the device's own link, and the radio's tail once. It takes no time
of a session.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from sim.world.fleet import Fleet

SECONDS = 30 * 86_400


@dataclass(frozen=True)
class FirstMonth:
    """Means over the devices of one method and seed."""

    sessions: float
    bits: float
    """In both directions, with what is installed."""
    joules: float


def first_month(rows: pd.DataFrame, fleet: Fleet, installed: int) -> FirstMonth:
    """The first month of the devices in ``rows``, those of one method and seed.

    ``installed`` are the bits of the model on a device before its first session; where the rows say when a model is
    installed (``bits_installed``), theirs count.
    """
    devices = np.sort(rows["device"].unique())
    inside = rows[_age(rows, fleet) < SECONDS]
    sums = inside.assign(bits=inside["bits_up"] + inside["bits_down"]).groupby("device")[["bits", "joules"]].sum()
    if "bits_installed" in inside:
        fresh = inside[inside["bits_installed"] > 0].groupby("device")["bits_installed"].agg(["sum", "count"])
        fresh = fresh.reindex(devices, fill_value=0)
        bits, times = fresh["sum"].to_numpy(float), fresh["count"].to_numpy(float)
    else:
        bits, times = np.full(len(devices), float(installed)), np.ones(len(devices))
    tiers = [fleet.scenario.tiers[fleet.tiers[device]] for device in devices.tolist()]
    each_bit = np.array([tier.nanojoule_per_bit_down * 1e-9 for tier in tiers])
    tail = np.array([tier.tail_joules for tier in tiers])
    return FirstMonth(
        len(inside) / len(devices),
        float((sums["bits"].reindex(devices, fill_value=0) + bits).mean()),
        float((sums["joules"].reindex(devices, fill_value=0) + bits * each_bit + times * tail).mean()),
    )


def _age(rows: pd.DataFrame, fleet: Fleet) -> np.ndarray:
    """Seconds from the beginning of each device's first session to that of each session in ``rows``."""
    streams = fleet.streams
    starts = streams.times[np.repeat(streams.offsets[:-1], np.diff(streams.session_offsets)) + streams.session_starts]
    first = streams.session_offsets[rows["device"].to_numpy()]
    age: np.ndarray = starts[first + rows["session"].to_numpy()] - starts[first]
    return age
