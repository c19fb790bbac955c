"""The loop: one Flower round plays one session of every device that has one left.

Devices go in waves, so that the networks of one wave exist at a time, not those of all devices.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import pandas as pd
from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid

from clients.budget import BUDGET
from sim.costs import Counts, cost
from sim.exchange import exchange
from sim.fleet import Fleet
from sim.rundir import RunFolder
from sim.streams import Streams, session_phase
from strategies.base import Outcome, Seat, SessionStrategy

WAVE = 256
"""Devices whose networks are alive at once: with six blocks of SASRec, 128 MB."""
TIMEOUT = 600.0
"""Seconds to wait for the devices of a wave."""


def seats_by_round(streams: Streams, nodes: list[int]) -> dict[int, list[Seat]]:
    """Who plays in each round, from 1: every device that still has a session, in the order of the devices."""
    counts = np.diff(streams.session_offsets)
    return {
        r: [Seat(nodes[d], d, r - 1) for d in np.nonzero(counts >= r)[0].tolist()]
        for r in range(1, int(counts.max()) + 1)
    }


def play(
    strategy: SessionStrategy,
    grid: Grid,
    run: RunFolder,
    rows_of: "RowMaker",
    *,
    seed: int,
    on_round: Callable[[int, pd.DataFrame], None] = lambda server_round, rows: None,
) -> None:
    """Play all sessions of one method; rounds that an earlier, killed run has finished are not played again."""
    for server_round, seats in strategy.seats.items():
        path = run.part(seed, strategy.name, server_round)
        if path.exists():
            on_round(server_round, pd.read_parquet(path))
            continue
        outcomes: list[Outcome] = []
        for wave in _waves(seats):
            outcomes += play_wave(strategy, grid, server_round, wave, rows_of.fleet)
        rows = rows_of(outcomes, strategy.name, seed)
        run.save_part(seed, strategy.name, server_round, rows)
        on_round(server_round, rows)


def play_wave(
    strategy: SessionStrategy, grid: Grid, server_round: int, wave: list[Seat], fleet: Fleet
) -> list[Outcome]:
    """One session of the devices of a wave, in the four calls of Flower's own loop.

    What the strategy sends, the simulation completes with what a device knows of itself: its budget for today.
    """
    nothing, config = ArrayRecord(), ConfigRecord()
    budgets = {seat.node: fleet.budget(seat).record() for seat in wave}

    def deliver(messages: Iterable[Message]) -> list[Message]:
        sent = list(messages)
        for message in sent:
            message.content[BUDGET] = budgets[message.metadata.dst_node_id]
        return _answers(exchange(grid, sent, TIMEOUT))

    strategy.begin(wave)
    strategy.aggregate_train(server_round, deliver(strategy.configure_train(server_round, nothing, config, grid)))
    strategy.aggregate_evaluate(server_round, deliver(strategy.configure_evaluate(server_round, nothing, config, grid)))
    return strategy.end()


class RowMaker:
    """Turns outcomes into the rows of ``sessions.parquet``: counts from the messages, costs from the profiles."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.phases = session_phase(fleet.streams)

    def __call__(self, outcomes: list[Outcome], method: str, seed: int) -> pd.DataFrame:
        """One row an outcome. A session whose measurements are missing counts as not served, with no hits."""
        return pd.DataFrame([self._row(outcome, method, seed) for outcome in outcomes]).astype(DTYPES)

    def _row(self, outcome: Outcome, method: str, seed: int) -> dict[str, object]:
        seat = outcome.seat
        index = self.fleet.index(seat)
        events = int(self.fleet.events[index])
        measured = outcome.measured or dict.fromkeys(
            ("hits", "ndcg", "served", "macs", "macs_paper", "macs_adapt", "param_bits", "path"), 0
        )
        tier = self.fleet.tier(seat)
        counts = Counts(
            events=events,
            macs=int(measured["macs"]),
            macs_request=outcome.macs_device,
            macs_adapt=int(measured["macs_adapt"]),
            macs_cloud=outcome.macs_cloud,
            bits_up=outcome.bits_up,
            bits_down=outcome.bits_down,
        )
        spent = cost(counts, tier, self.fleet.scenario, self.fleet.factor(seat))
        return {
            "seed": seed,
            "device": seat.device,
            "method": method,
            "session": seat.session,
            "events": events,
            "hits": int(measured["hits"]),
            "ndcg": float(measured["ndcg"]),
            "requested": outcome.requested,
            "path": int(measured["path"]),
            "blocks": int(measured["path"]).bit_count(),
            "macs": counts.macs,
            "macs_paper": int(measured["macs_paper"]),
            "param_bits": int(measured["param_bits"]),
            "bits_down": counts.bits_down,
            "bits_up": counts.bits_up,
            "seconds_adapt": spent.seconds_adapt,
            "seconds_inference": spent.seconds_inference,
            "joules": spent.joules,
            "served": bool(measured["served"]),
            "tier": tier.name,
            "phase": str(self.phases[index]),
        }


DTYPES = {
    "seed": "int64",
    "device": "int32",
    "session": "int32",
    "events": "int32",
    "hits": "int32",
    "blocks": "int32",
    "path": "int64",
    "macs": "int64",
    "macs_paper": "int64",
    "param_bits": "int64",
    "bits_down": "int64",
    "bits_up": "int64",
}


def _answers(replies: dict[int, Message | None]) -> list[Message]:
    """What came back; a device whose reply is missing keeps an outcome without measurements."""
    return [reply for reply in replies.values() if reply is not None]


def _waves(seats: list[Seat]) -> Iterator[list[Seat]]:
    for start in range(0, len(seats), WAVE):
        yield seats[start : start + WAVE]
