"""Altered messages at both ends: what cloud and devices make of them.

    python -m benchmarks.fuzz_messages --cases 10000

Half of the messages are replies of devices, altered on their way to the cloud; each is met by a whole wave
(:func:`sim.play.play_wave`). The other half are messages to devices, altered on their way down; each is met by a batch
of devices in one call. Of every message it is known what it says unaltered: what may be believed is decided in
:mod:`benchmarks.verdicts`, and not by the code that is tested. The table counts verdicts by field; exit status 1 if one
of them is a fault.
"""

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import chdir
from pathlib import Path
from random import Random

from strategies.registry import METHODS


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    found.add_argument("--cases", type=int, default=10_000, help="altered messages")
    found.add_argument("--seed", type=int, default=0, help="of the alterations")
    return found


if __name__ == "__main__":  # a wrong option and --help need none of the imports below, which take seconds
    parser().parse_args()


import torch
from flwr.app import Message, RecordDict

from benchmarks.alterations import CONTENT, DUE, alter_envelope
from benchmarks.small_world import SESSIONS, Bench, copied, place
from benchmarks.verdicts import believable, same, sensible
from models.delivery import WEIGHTS, Delivery
from sim import play
from sim.backends.inprocess import InProcessGrid
from strategies.wave import DeviceSession, SessionResult

METHODS_TRIED = (
    "devicerec",
    "finetune",
    "duet",
    "forward-ofa",
    "sttd",
    "rare-gem",
    "gater",
    "litepred",
    "forward-ofa-controller",
)
POLICIES_TRIED = ("", "every:2", "compare")
"""No request policy, one, and one with ``--compare-stale``."""
FAULTS = ("accepted wrongly", "crash", "another's row", "traceback")


class Wave:
    """One wave of a method, whose devices answer as they did in truth, less the alterations."""

    def __init__(self, bench: Bench, method: str, policy: str, session: int, delivery: Delivery = WEIGHTS) -> None:
        self.bench, self.session = bench, session
        self.strategy = bench.strategy(method, delivery)
        self.setup = bench.policies(self.strategy, policy, session)
        grid = bench.grid
        grid.known, grid.replies = None, list
        for number in range(session + 1):
            grid.answered, grid.told = {}, {}
            self.remembered = dict(getattr(self.strategy, "remembered", {}))
            self.honest = self._play(number)
        self.known, self.told = grid.answered, grid.told
        if self.setup is not None:
            shutil.copytree(self._states, self._states.with_suffix(".kept"))

    @property
    def _states(self) -> Path:
        assert self.setup is not None
        return self.bench.folder / "world" / "devices" / self.setup.state

    def restore(self) -> None:
        """Put back what the devices remember."""
        if self.setup is not None:
            shutil.rmtree(self._states)
            shutil.copytree(self._states.with_suffix(".kept"), self._states)

    @property
    def devices(self) -> list[DeviceSession]:
        """Who plays."""
        return self.bench.rounds[self.session + 1]

    def _play(self, session: int) -> list[SessionResult]:
        bench, wave = self.bench, self.bench.rounds[session + 1]
        digest, path = self.strategy.device_file(wave[0])
        bench.population.install({digest: path}, None)
        simulation = play.Simulation(bench.fleet, 3, self.setup)
        return play.play_wave(self.strategy, bench.population, session + 1, wave, simulation)

    def altered(self, random: Random) -> tuple[str, str]:
        """Alter one reply of one device: the field, and the verdict."""
        grid, victim = self.bench.grid, random.choice(self.devices)
        kind = random.choice(sorted({kind for kind, node in self.known if node == victim.node}))
        field, honest, told = "", self.known[(kind, victim.node)], RecordDict()

        def change(replies: list[Message]) -> list[Message]:
            nonlocal field, told
            out = []
            for reply in replies:
                if place(reply) != (kind, victim.node):
                    out.append(reply)
                elif random.random() < 0.1:
                    mine, field = alter_envelope(reply, random)
                    out += mine
                else:
                    field = random.choice(CONTENT)(reply.content, random)
                    told = reply.content
                    out.append(reply)
            return out

        grid.known, grid.replies = self.known, change
        if hasattr(self.strategy, "remembered"):
            self.strategy.remembered = dict(self.remembered)
        try:
            results = self._play(self.session)
        except Exception as error:
            self.strategy.open = {}
            return field, f"crash: {type(error).__name__}"
        for result, real in zip(results, self.honest, strict=True):
            if result.device_session != victim and result != real:
                return field, "another's row"
        (mine,) = [result for result in results if result.device_session == victim]
        if mine.status in ("rejected", "failed", "lost"):
            if not len(told):
                return f"({field})", mine.status if mine.status == DUE.get(field, "rejected") else "accepted wrongly"
            return field, mine.status if mine.status == "rejected" else "crash"
        if not len(told):
            return f"({field})", "accepted wrongly"
        return field, "accepted" if believable(honest, told, victim) else "accepted wrongly"


def altered_batch(wave: Wave, random: Random) -> tuple[str, str]:
    """Alter the message to one device of a batch: the field, and the verdict."""
    grid = wave.bench.grid
    kind = random.choice(sorted(wave.told))
    messages = [
        Message(copied(m.content), dst_node_id=m.metadata.dst_node_id, message_type=kind) for m in wave.told[kind]
    ]
    victim = random.randrange(len(messages))
    field = random.choice(CONTENT)(messages[victim].content, random)
    grid.known, grid.replies = None, list
    replies = InProcessGrid.send_and_receive(grid, messages)
    wave.restore()
    for row, reply in enumerate(replies):
        if row != victim and (reply.has_error() or not same(reply.content, wave.known[place(reply)])):
            return field, "another's row"
    mine = replies[victim]
    if mine.has_error():
        return field, "traceback"
    if "refused" in mine.content:
        reason = mine.content.config_records["refused"]["reason"]
        return field, "refused" if len(str(reason).splitlines()) == 1 else "accepted wrongly"
    return field, "accepted" if sensible(
        wave.told[kind][victim].content, messages[victim].content
    ) else "accepted wrongly"


def fuzz(folder: Path, cases: int, seed: int) -> Counter[tuple[str, str, str]]:
    """Counts of (direction, field, verdict) over ``cases`` altered messages, half of them in each direction."""
    random, bench, counts = Random(seed), Bench(folder), Counter[tuple[str, str, str]]()
    waves = [
        Wave(bench, method, policy, session)
        for method in METHODS_TRIED
        for policy in (POLICIES_TRIED if METHODS[method].adapts else POLICIES_TRIED[:1])
        for session in (0, SESSIONS - 1)
    ]
    waves += [
        Wave(bench, "forward-ofa-plus", policy, SESSIONS - 1, delivery)
        for policy in POLICIES_TRIED
        for delivery in (Delivery("code", 8), Delivery("code", 32), Delivery("local"))
    ]
    for case in range(cases):
        wave = random.choice(waves)
        up = case % 2 == 0
        field, verdict = wave.altered(random) if up else altered_batch(wave, random)
        counts["up" if up else "down", field, verdict] += 1
    return counts


def main() -> int:
    """The command; 1 if there is a fault."""
    options = parser().parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, chdir(folder):  # an altered folder may be one below this
        counts = fuzz(Path(folder), options.cases, options.seed)
    totals = Counter[tuple[str, str]]()
    for (way, field, verdict), count in sorted(counts.items()):
        totals[way, verdict] += count
        print(f"{way:5} {field:28} {verdict:20} {count:6}")
    for (way, verdict), count in sorted(totals.items()):
        print(f"{way:5} {'all fields':28} {verdict:20} {count:6}")
    return int(any(verdict.startswith(FAULTS) for _, verdict in totals))


if __name__ == "__main__":
    sys.exit(main())
