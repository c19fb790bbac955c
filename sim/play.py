"""The loop: one Flower round plays one session of every device that has one left.

Devices go in waves, so that the networks of one wave exist at a time, not those of all devices. On the in-process grid
a wave is played in groups, and long runs hand these to as many processes as there are processors (:mod:`sim.workers`).
Which devices are played together does not depend on how many there are, and so the rows do not.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from flwr.app import ArrayRecord, ConfigRecord, Message

from clients.evaluation import Evaluation
from clients.messages import COMPARED, SAMPLED
from clients.session_config import SessionConfig
from clients.upload import PLAIN, UploadForm
from core import atomic
from core.errors import Damaged, UserError
from core.run_folder import RunFolder, reason
from core.threads import processors
from models.candidates import Candidates
from sim.backends.inprocess import InProcessGrid
from sim.backends.population import Population
from sim.observers.base import PlayObserver
from sim.policy.setup import PolicySetup
from sim.rows import RowMaker, upload_rows
from sim.workers import can_fork, workers
from sim.world.fleet import Fleet
from sim.world.streams import Streams
from sim.world.versions import Versions
from strategies.base import SessionStrategy
from strategies.wave import DeviceSession, SessionResult, WaveRules

log = logging.getLogger(__name__)

WAVE = 256
"""Devices whose networks are alive at once: with six blocks of SASRec, 128 MB."""
GROUP = 64
"""Devices of a wave that the in-process grid plays together: as many as it hands to the devices' app at once."""
WORTH_A_PROCESS = 512
"""Device-sessions of DeviceRec for which one more process takes less time than it costs, which is some tenths of a
second; of other methods fewer, by their :attr:`~strategies.base.SessionStrategy.load`."""
TIMEOUT = 600.0
"""Seconds to wait for each chunk of a wave (:func:`sim.backends.messaging.exchange`)."""
TOLERATED = 0.01
"""Share of a wave that may fail or be lost before the run stops."""


@dataclass(frozen=True)
class Simulation:
    """What the simulation knows and the cloud does not: what happens to the devices, and what they are told."""

    fleet: Fleet
    seed: int
    policy_setup: PolicySetup | None = None
    """The devices' request policies; None: they ask before every session and remember nothing."""
    evaluation: Evaluation = field(default_factory=Evaluation)
    """What is measured beside the ranks among all candidates."""
    upload: UploadForm = PLAIN
    """In which form devices send their latent interests."""
    keeps_uploads: bool = False
    """Whether the run folder keeps what requests told the cloud."""
    oracle: bool = False
    """Whether devices are told the type of their user, which no device knows."""

    @property
    def compares(self) -> bool:
        """Whether the stale network is compared with the fresh one in every session."""
        return self.policy_setup is not None and self.policy_setup.compare

    def config(self, one: DeviceSession) -> SessionConfig:
        """What a device is told of a session."""
        return SessionConfig(
            device=one.device,
            session=one.session,
            seed=self.seed,
            stream=self.fleet.streams.of_session(one.device, one.session),
            types=self.fleet.streams.types_of_session(one.device, one.session) if self.oracle else None,
            budget=self.fleet.budget(one),
            policy=None if self.policy_setup is None else self.policy_setup.config(one),
            evaluation=self.evaluation,
            upload=self.upload,
        )

    def files(self) -> dict[str, Path]:
        """Files that devices need beside the model, by their digests."""
        return {} if self.policy_setup is None else self.policy_setup.files()


def sessions_by_round(
    streams: Streams,
    addresses: list[int],
    candidates: Candidates,
    versions: Versions | None = None,
    bits: np.ndarray | None = None,
) -> dict[int, list[DeviceSession]]:
    """Who plays in each round, from 1: every device that still has a session, in the order of the devices.

    ``bits`` ``(D,)`` is what each device computes in; None: in single precision. A device installs the model before its
    first session. With ``versions`` each device-session names the one that it runs, and a device installs it before it
    runs it first.
    """
    counts, first = np.diff(streams.session_offsets), streams.session_offsets[:-1]
    past, events = streams.session_starts.tolist(), streams.session_ends - streams.session_starts
    again = np.zeros(len(events), dtype=bool)
    if candidates == "unseen":
        events -= streams.session_repeats
        before = np.concatenate(([0], np.cumsum(streams.repeats)))
        begin = np.repeat(streams.offsets[:-1], counts)
        again = before[begin + streams.session_starts] > before[begin]

    def session(device: int, number: int) -> DeviceSession:
        row = int(first[device]) + number
        found = DeviceSession(
            addresses[device], device, number, int(events[row]), past[row], bool(again[row]), installs=number == 0
        )
        if bits is not None:
            found = replace(found, bits=int(bits[device]))
        if versions is None:
            return found
        installs = bool(versions.since[row] == number)
        return replace(found, version=int(versions.of_sessions[row]), installs=installs)

    return {
        r: [session(d, r - 1) for d in np.nonzero(counts >= r)[0].tolist()] for r in range(1, int(counts.max()) + 1)
    }


def play(
    strategy: SessionStrategy,
    population: Population,
    run: RunFolder,
    rows_of: RowMaker,
    simulation: Simulation,
    *,
    observers: Sequence[PlayObserver] = (),
    say: Callable[[str], None] = log.warning,
) -> None:
    """Play all sessions of one method; rounds that an earlier, killed run has finished are not played again.

    What a round needs is installed before it begins. ``observers`` are told of every wave and every round.

    Raises :class:`UserError` if too many devices of a wave failed; its round is not saved.
    """
    seed, policy_setup = simulation.seed, simulation.policy_setup
    more = (*COMPARED * simulation.compares, *SAMPLED * (simulation.evaluation.sampled > 0))
    played_before = _played_before(strategy, population, run, simulation, say)
    left = {r: sessions for r, sessions in strategy.device_sessions.items() if r not in played_before}

    def perform(task: Task) -> tuple[list[SessionResult], Mapping[int, Any]]:
        """Play a group, in this process or in one forked from it."""
        population.provide(task.files)
        strategy.recall(task.known)
        results = play_wave(strategy, population, task.server_round, task.group, simulation)
        return results, strategy.known([one.node for one in task.group])

    def tasks(rounds: Iterable[int]) -> Iterator[Task]:
        """The groups of these rounds; what a round needs is installed before its first."""
        for server_round in rounds:
            first_of_each = {one.version: one for one in reversed(left[server_round])}.values()
            files = dict(map(strategy.device_file, first_of_each)) | simulation.files()
            population.install(files, TIMEOUT)
            for wave in _waves(left[server_round]):
                for group in _groups(wave, population):
                    yield Task(server_round, group, files, strategy.known([one.node for one in group]))

    processes = _processes(strategy, population, simulation, sum(map(len, left.values())))
    with workers(perform, processes) as perform_all:
        ahead = perform_all(tasks(left)) if policy_setup is None else iter(())
        for server_round, device_sessions in strategy.device_sessions.items():
            if server_round in played_before:
                rows = run.read_part(seed, strategy.name, server_round)
                for observer in observers:
                    observer.on_round(rows, fresh=False)
                continue
            # What devices remember of a round lies on the disk before the next round is played.
            performed = ahead if policy_setup is None else perform_all(tasks([server_round]))
            results: list[SessionResult] = []
            parts: list[pd.DataFrame] = []
            for wave in _waves(device_sessions):
                played: list[SessionResult] = []
                for found, known in islice(performed, len(_groups(wave, population))):
                    played += found
                    strategy.recall(known)
                stop_if_failing(played, strategy, run.log, population.home)
                results += played
                if not (rows_of.whole_rounds or simulation.keeps_uploads):  # a row is a tenth of a result
                    parts.append(rows_of(results, strategy.name, seed, more))
                    results = []
                for observer in observers:
                    observer.on_wave(len(wave))
            if results:
                results.sort(key=lambda result: result.device_session.device)
                parts.append(rows_of(results, strategy.name, seed, more))
            rows = pd.concat(parts, ignore_index=True).sort_values("device", kind="stable", ignore_index=True)
            if simulation.keeps_uploads:  # before the rows, whose part says that the round is done
                run.save_uploads(seed, strategy.name, server_round, upload_rows(results, strategy.name, seed))
            if policy_setup is not None:
                atomic.flush_all()  # rows on the disk without what the devices remember would be continued wrongly
            run.save_part(seed, strategy.name, server_round, rows)
            for observer in observers:
                observer.on_round(rows, fresh=True)
    if policy_setup is not None:
        population.forget(policy_setup.state, TIMEOUT)


@dataclass(frozen=True)
class Task:
    """A group of devices that play a session together, and what the process has to know that plays them."""

    server_round: int
    group: list[DeviceSession]
    files: Mapping[str, Path]
    """What is installed on them, by digest."""
    known: Mapping[int, Any]
    """What the cloud knows of them, see :meth:`strategies.base.SessionStrategy.known`."""


def _processes(strategy: SessionStrategy, population: Population, simulation: Simulation, device_sessions: int) -> int:
    """How many processes play so many device-sessions."""
    grid = population.grid
    if not isinstance(grid, InProcessGrid) or not can_fork():
        return 1
    if simulation.policy_setup is not None and not grid.remembers_on_disk:
        return 1
    return max(1, min(processors(), strategy.load * device_sessions // WORTH_A_PROCESS))


def _played_before(
    strategy: SessionStrategy,
    population: Population,
    run: RunFolder,
    simulation: Simulation,
    say: Callable[[str], None],
) -> set[int]:
    """The rounds that an earlier start has played, if it can be continued.

    Where devices remember, a round needs all before it and what the devices filed in them, which they are asked for;
    without that, all rounds are played again.
    """
    seed, policy_setup = simulation.seed, simulation.policy_setup
    rounds = list(strategy.device_sessions)
    found = run.check_parts(seed, strategy.name, rounds, say)
    if simulation.keeps_uploads:
        found = [r for r in found if run.has_uploads(seed, strategy.name, r, say)]
    if policy_setup is None or len(found) == len(rounds):
        return set(found)
    try:
        if found != rounds[: len(found)]:
            raise Damaged(f"a round of {strategy.name} before others is missing; ")
        if found:
            rows = pd.concat([run.read_part(seed, strategy.name, r) for r in found])
            last = rows[rows["adapted"]].groupby("device", as_index=False)["session"].max()
            adapted = dict(zip(last["device"].tolist(), last["session"].tolist(), strict=True))
            if wrong := population.remember(policy_setup.state, len(found), adapted, TIMEOUT):
                device, why = next(iter(wrong.items()))
                raise Damaged(f"{len(wrong)} devices do not remember what they need, as device {device}: {why}; ")
            return set(found)
    except Damaged as error:
        say(f"{reason(error)}; all rounds of {strategy.name} are played again")
    run.drop_parts(seed, strategy.name, rounds)
    population.forget(policy_setup.state, TIMEOUT)
    return set()


def play_wave(
    strategy: SessionStrategy,
    population: Population,
    server_round: int,
    wave: list[DeviceSession],
    simulation: Simulation,
) -> list[SessionResult]:
    """One session of the devices of a wave, in the four calls of Flower's own loop.

    What the strategy sends, the simulation completes with what a device knows of itself (its stream, its budget for
    today, its request policy) and with what is measured besides. What the scenario lets fail does not arrive: no
    message at a device that has dropped out, no measurements of a device that has vanished; a late request is not
    answered. The round goes on with the others.
    """
    nothing, config, fleet = ArrayRecord(), ConfigRecord(), simulation.fleet
    failures = {one.node: fleet.failure(one) for one in wave}
    known = {one.node: simulation.config(one).records() for one in wave}

    def deliver(messages: Iterable[Message]) -> list[Message]:
        sent = [message for message in messages if failures[message.metadata.dst_node_id] != "dropped"]
        for message in sent:
            message.content.update(known[message.metadata.dst_node_id])
        return [reply for replies in population.exchange(sent, TIMEOUT).values() for reply in replies]

    rules = WaveRules(
        remembers=simulation.policy_setup is not None,
        compares=simulation.compares,
        sampled=simulation.evaluation.sampled > 0,
        upload=simulation.upload,
        late=lambda one, asked: failures[one.node] == "late" or fleet.misses_deadline(one, asked.macs, asked.bits),
    )
    strategy.begin(wave, rules)
    strategy.aggregate_train(
        server_round, deliver(strategy.configure_train(server_round, nothing, config, population.grid))
    )
    strategy.aggregate_evaluate(
        server_round, deliver(strategy.configure_evaluate(server_round, nothing, config, population.grid))
    )
    results = strategy.end()
    for result in results:
        if simulation.policy_setup is not None and result.device_session.session == 0:
            result.bits_installed += simulation.policy_setup.detector_bits
        failure = failures[result.device_session.node]
        if failure == "dropped" or (failure == "vanished" and result.status not in ("failed", "lost")):
            result.status, result.problem = failure, ""
            result.measured = _costs(result.measured) if failure == "vanished" else None
    return results


def _costs(measured: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """What a device that vanished has computed: its battery pays for it, whoever learns what came of it."""
    if measured is None:
        return None
    spent = ("macs", "macs_paper", "macs_adapt", "macs_decide")
    return {name: value if name in spent else 0 * value for name, value in measured.items()}


def stop_if_failing(
    played: list[SessionResult], strategy: SessionStrategy, log_file: Path, home: Callable[[int], int] = int
) -> None:
    """Raise :class:`UserError` if more than :data:`TOLERATED` of a wave, or all of it, failed or was lost.

    Either is a fault of this program or of its engine. Booked as the devices' they would put methods side by side that
    played different sessions. Of a device's address ``home`` gives Flower's node.
    """
    asked = [result for result in played if result.status != "dropped"]
    faulty = [result for result in asked if result.status in ("failed", "lost")]
    if len(faulty) <= TOLERATED * len(played) and (len(faulty) < len(asked) or not faulty):
        return
    first = faulty[0]
    one = first.device_session
    raise UserError(
        f"{len(faulty)} of {len(played)} devices of a wave failed or were lost; the first: {strategy.title}, device "
        f"{one.device} (node {home(one.node)}), session {one.session}: {first.status}: {first.problem}; "
        f"see {log_file}. This round is not saved: mend the cause, and the same command continues"
    )


def _waves(device_sessions: list[DeviceSession]) -> list[list[DeviceSession]]:
    """Devices with one version go together, so that few versions are open at a time."""
    ordered = sorted(device_sessions, key=lambda one: one.version)
    return [ordered[start : start + WAVE] for start in range(0, len(ordered), WAVE)]


def _groups(wave: list[DeviceSession], population: Population) -> list[list[DeviceSession]]:
    """The devices of a wave that are played together: on Flower's own grids, where messages wait, all of them."""
    size = GROUP if isinstance(population.grid, InProcessGrid) else len(wave)
    return [wave[start : start + size] for start in range(0, len(wave), size)]
