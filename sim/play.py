"""The loop: one Flower round plays one session of every device that has one left.

Devices go in waves, so that the networks of one wave exist at a time, not those of all devices.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from flwr.app import ArrayRecord, ConfigRecord, Message
from flwr.serverapp import Grid

from clients.budget import BUDGET
from clients.decision import POLICY
from clients.messages import COMPARED, BadMessage, DeviceRequest, read_request
from core import schema
from sim.backends.messaging import exchange
from sim.policy.setup import PolicySetup
from sim.run_folder import RunFolder
from sim.world.costs import Counts, cost, waits
from sim.world.fleet import Fleet, Status
from sim.world.streams import Streams, session_phase
from strategies.base import DeviceSession, SessionResult, SessionStrategy

WAVE = 256
"""Devices whose networks are alive at once: with six blocks of SASRec, 128 MB."""
TIMEOUT = 600.0
"""Seconds to wait for each chunk of a wave (:func:`sim.backends.messaging.exchange`)."""


def sessions_by_round(streams: Streams, nodes: list[int]) -> dict[int, list[DeviceSession]]:
    """Who plays in each round, from 1: every device that still has a session, in the order of the devices."""
    counts = np.diff(streams.session_offsets)
    return {
        r: [DeviceSession(nodes[d], d, r - 1) for d in np.nonzero(counts >= r)[0].tolist()]
        for r in range(1, int(counts.max()) + 1)
    }


def play(
    strategy: SessionStrategy,
    grid: Grid,
    run: RunFolder,
    rows_of: "RowMaker",
    *,
    seed: int,
    policy_setup: PolicySetup | None = None,
    on_wave: Callable[[int], None] = lambda sessions: None,
    on_round: Callable[[pd.DataFrame, bool], None] = lambda rows, fresh: None,
) -> None:
    """Play all sessions of one method; rounds that an earlier, killed run has finished are not played again.

    ``policy_setup`` has the devices' request policies; without one they ask before every session and remember nothing.
    ``on_wave`` hears how many sessions were just played, ``on_round`` the rows of a round and whether it was played
    now.
    """
    for server_round, device_sessions in strategy.device_sessions.items():
        path = run.part(seed, strategy.name, server_round)
        if path.exists():
            on_round(pd.read_parquet(path), False)
            continue
        played: list[Played] = []
        for wave in _waves(device_sessions):
            played += play_wave(strategy, grid, server_round, wave, rows_of.fleet, policy_setup)
            on_wave(len(wave))
        rows = rows_of(played, strategy.name, seed, policy_setup is not None and policy_setup.compare)
        run.save_part(seed, strategy.name, server_round, rows)
        on_round(rows, True)
    if policy_setup is not None:
        policy_setup.close()


@dataclass(frozen=True)
class Played:
    """A device-session after it was played."""

    result: SessionResult
    """As the cloud saw it."""
    status: Status


def play_wave(
    strategy: SessionStrategy,
    grid: Grid,
    server_round: int,
    wave: list[DeviceSession],
    fleet: Fleet,
    policy_setup: PolicySetup | None = None,
) -> list[Played]:
    """One session of the devices of a wave, in the four calls of Flower's own loop.

    What the strategy sends, the simulation completes with what a device knows of itself: its budget for today and its
    request policy. What the scenario lets fail is not delivered: no order to a device that has dropped out, no request
    that is late, no measurements of a device that has vanished. The round goes on with the others.
    """
    nothing, config = ArrayRecord(), ConfigRecord()
    budgets = {device_session.node: fleet.budget(device_session).record() for device_session in wave}
    policies = (
        {}
        if policy_setup is None
        else {device_session.node: policy_setup.config(device_session).record() for device_session in wave}
    )
    device_sessions = {device_session.node: device_session for device_session in wave}
    failures = {device_session.node: fleet.failure(device_session) for device_session in wave}
    too_late: dict[int, DeviceRequest] = {}

    def deliver(messages: Iterable[Message]) -> list[Message]:
        sent = [message for message in messages if failures[message.metadata.dst_node_id] != "dropped"]
        for message in sent:
            message.content[BUDGET] = budgets[message.metadata.dst_node_id]
            if policies:
                message.content[POLICY] = policies[message.metadata.dst_node_id]
        return _answers(exchange(grid, sent, TIMEOUT))

    def in_time(reply: Message) -> bool:
        node = reply.metadata.src_node_id
        try:
            asked = read_request(reply, strategy.blocks)
        except BadMessage:
            return True  # for the strategy to reject
        if (
            asked is None
            or asked.probe
            or not (failures[node] == "late" or fleet.misses_deadline(device_sessions[node], asked.macs, asked.bits))
        ):
            return True
        too_late[node] = asked
        return False

    strategy.begin(wave)
    requests = deliver(strategy.configure_train(server_round, nothing, config, grid))
    strategy.aggregate_train(server_round, [reply for reply in requests if in_time(reply)])
    reports = deliver(strategy.configure_evaluate(server_round, nothing, config, grid))
    strategy.aggregate_evaluate(
        server_round, [reply for reply in reports if failures[reply.metadata.src_node_id] != "vanished"]
    )
    played = []
    for result in strategy.end():
        node = result.device_session.node
        if node in too_late:
            asked = too_late[node]
            result.requested, result.bits_up, result.macs_device = True, asked.bits, asked.macs
        played.append(Played(result, _status(result, failures[node], node in too_late)))
    return played


def _status(result: SessionResult, failure: Status, too_late: bool) -> Status:
    if failure in ("dropped", "vanished"):
        return failure
    if result.problems:
        return "rejected"
    if result.measured is None:
        return "dropped"
    return "late" if too_late else "ok"


class RowMaker:
    """Turns outcomes into the rows of ``sessions.parquet``: counts from the messages, costs from the profiles."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.phases = session_phase(fleet.streams)

    def __call__(self, played: list[Played], method: str, seed: int, compared: bool = False) -> pd.DataFrame:
        """One row a device-session of a round; where measurements are missing it is not served and has no hits.

        ``compared`` adds the quality with the stale and with the fresh network.
        """
        waiting = self._waiting(played)
        rows = [self._row(one, method, seed, wait, compared) for one, wait in zip(played, waiting, strict=True)]
        columns = [column for column in schema.SESSIONS if compared or not column.optional]
        return pd.DataFrame(rows)[schema.names(columns)].astype(schema.dtypes(columns))

    def _waiting(self, played: list[Played]) -> list[float | None]:
        """Seconds in the cloud's queue; None for a device-session that the cloud made nothing for."""
        rate = self.fleet.scenario.cloud.requests_per_second
        asked = [one.result for one in played if one.result.bits_down > 0 and one.result.bits_up > 0]
        if rate is None:
            return [None] * len(played)
        arrivals = [self.fleet.arrival(o.device_session, o.macs_device, o.bits_up) for o in asked]
        found = dict(zip([o.device_session for o in asked], waits(np.array(arrivals), 1 / rate).tolist(), strict=True))
        return [found.get(one.result.device_session) for one in played]

    def _row(self, played: Played, method: str, seed: int, wait: float | None, compared: bool) -> dict[str, object]:
        result = played.result
        device_session = result.device_session
        index = self.fleet.index(device_session)
        events = int(self.fleet.events[index])
        measured = result.measured or dict.fromkeys(
            ("hits", "ndcg", "served", "macs", "macs_paper", "macs_adapt", "param_bits", "path"), 0
        )
        tier = self.fleet.tier(device_session)
        counts = Counts(
            events=events,
            macs=int(measured["macs"]),
            macs_request=result.macs_device + int(measured.get("macs_decide", 0)),
            macs_adapt=int(measured["macs_adapt"]),
            macs_cloud=result.macs_cloud,
            bits_up=result.bits_up,
            bits_down=result.bits_down,
        )
        rate = self.fleet.scenario.cloud.requests_per_second
        queue = 0.0 if wait is None or rate is None else wait + 1 / rate
        spent = cost(counts, tier, self.fleet.scenario, self.fleet.factor(device_session), queue)
        return {
            "seed": seed,
            "device": device_session.device,
            "method": method,
            "session": device_session.session,
            "events": events,
            "hits": int(measured["hits"]),
            "ndcg": float(measured["ndcg"]),
            "requested": result.requested,
            "path": int(measured["path"]),
            "blocks": int(measured["path"]).bit_count(),
            "macs": counts.macs,
            "macs_paper": int(measured["macs_paper"]),
            "macs_session": counts.macs_device,
            "param_bits": int(measured["param_bits"]),
            "bits_down": counts.bits_down,
            "bits_up": counts.bits_up,
            "seconds_adapt": spent.seconds_adapt,
            "seconds_wait": wait or 0.0,
            "seconds_inference": spent.seconds_inference,
            "joules": spent.joules,
            "budget_macs": self.fleet.budget(device_session).macs,
            "served": bool(measured["served"]),
            "status": played.status,
            "tier": tier.name,
            "phase": str(self.phases[index]),
            "adapted": result.bits_down > 0 or counts.macs_adapt > 0,
            **({name: float(measured.get(name, 0.0)) for name in COMPARED} if compared else {}),
        }


def _answers(replies: dict[int, Message | None]) -> list[Message]:
    """What came back; a device whose reply is missing keeps an outcome without measurements."""
    return [reply for reply in replies.values() if reply is not None]


def _waves(device_sessions: list[DeviceSession]) -> Iterator[list[DeviceSession]]:
    for start in range(0, len(device_sessions), WAVE):
        yield device_sessions[start : start + WAVE]
