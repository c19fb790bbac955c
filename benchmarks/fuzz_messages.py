"""Altered messages at both ends: what cloud and devices make of them.

    python -m benchmarks.fuzz_messages --cases 10000

Half of the messages are replies of devices, altered on their way to the cloud; each is met by a whole wave
(:func:`sim.play.play_wave`). The other half are messages to devices, altered on their way down; each is met by a batch
of devices in one call. Of every message it is known what it says unaltered: what may be believed is decided here, and
not by the code that is tested. The table counts verdicts by field; exit status 1 if one of them is a fault.
"""

import argparse
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import chdir
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from flwr.app import ArrayRecord, Message, RecordDict

from benchmarks.alterations import CONTENT, DUE, alter_envelope
from clients.app import app
from clients.depot import DEVICE_DIR
from clients.policies import parse
from models.backbones.sasrec import SASRec
from models.checkpoint import Sizes, save_model
from sim import play
from sim.backends.inprocess import InProcessGrid
from sim.backends.messaging import register
from sim.backends.population import Population
from sim.data.interactions import Interactions
from sim.policy.setup import PolicySetup
from sim.world.fleet import Fleet
from sim.world.scenario import load_scenario
from sim.world.streams import build_streams, save
from strategies.base import DeviceSession, SessionResult, SessionStrategy
from strategies.registry import METHODS

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
DEVICES, ITEMS, BLOCKS, CONTEXT, HISTORY, SESSIONS = 5, 30, 3, 5, 8, 3
FAULTS = ("accepted wrongly", "crash", "another's row", "traceback")


# -- a small world of untrained models -------------------------------------------------------------------------------


class Bench:
    """A few devices with a few sessions, one strategy a method, and what each device answers in truth."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(0)
        count = 50  # of which the last ten are played
        interactions = Interactions(
            name="fuzz",
            offsets=np.arange(DEVICES + 1) * count,
            items=rng.integers(1, ITEMS + 1, DEVICES * count).astype(np.int32),
            times=np.tile(np.arange(count) * 60, DEVICES),
            user_ids=[str(user) for user in range(DEVICES)],
            item_ids=["", *map(str, range(ITEMS))],
            item_titles=["", *map(str, range(ITEMS))],
            genre_names=[],
            genres=np.zeros((ITEMS + 1, 0), dtype=bool),
            change_points=np.full(DEVICES, -1),
        )
        self.folder = folder
        self.streams = build_streams(interactions, np.arange(DEVICES), session_length=3, sessions=SESSIONS)
        save(self.streams, folder / "world")
        self.fleet = Fleet(self.streams, load_scenario("paper-device"), seed=0)
        self.grid = AlteringGrid(DEVICES, folder / "world")
        self.population = Population(self.grid, register(self.grid, DEVICES), DEVICES)
        self.rounds = play.sessions_by_round(self.streams, self.population.addresses, "all")
        self._models: dict[str, Path] = {}

    def strategy(self, method: str) -> SessionStrategy:
        """A fresh strategy, with an untrained model."""
        kind = METHODS[method]
        if kind.cloud_model not in self._models:
            generator = torch.Generator().manual_seed(1)
            torch.manual_seed(1)
            model = METHODS[kind.cloud_model].learner().build(SASRec(ITEMS, BLOCKS, CONTEXT, generator), generator)
            path = self.folder / f"{kind.cloud_model}.safetensors"
            save_model(path, model, Sizes("sasrec", ITEMS, BLOCKS, CONTEXT), {"memory": HISTORY})
            self._models[kind.cloud_model] = path
        return kind(self._models[kind.cloud_model], self.rounds)

    def policies(self, strategy: SessionStrategy, policy: str, session: int) -> PolicySetup | None:
        """The request policy of all devices, with a folder of its own; None where there is none to have."""
        if not strategy.adapts or not policy:
            return None
        kind, parameter = parse("every:2")
        state = f"{strategy.name}-{policy.partition(':')[0]}-{session}"
        return PolicySetup(kind, [parameter or 0.0] * DEVICES, state, self.streams, 0, policy == "compare")


class AlteringGrid(InProcessGrid):
    """Hands replies on as ``replies`` gives them; with ``known``, devices answer from it and compute nothing."""

    def __init__(self, devices: int, folder: Path) -> None:
        super().__init__(app, devices, node_config={DEVICE_DIR: str(folder)})
        self.known: dict[tuple[str, int], RecordDict] | None = None
        self.answered: dict[tuple[str, int], RecordDict] = {}
        self.told: dict[str, list[Message]] = {}
        self.replies: Callable[[list[Message]], list[Message]] = list

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        sent = list(messages)
        if self.known is None:
            for message in sent:
                if not message.metadata.message_type.startswith("query"):
                    self.told.setdefault(message.metadata.message_type, []).append(message)
            replies = super().send_and_receive(sent)
            for reply in replies:
                if not reply.metadata.message_type.startswith("query"):
                    self.answered[_place(reply)] = copied(reply.content)
            return self.replies(replies)
        for number, message in enumerate(sent):
            message.metadata.__dict__["_message_id"] = f"{id(self)}-{number}-{message.metadata.message_type}"
        return self.replies([Message(copied(self.known[_place_of(m)]), reply_to=m) for m in sent])


def _place(reply: Message) -> tuple[str, int]:
    return reply.metadata.message_type, reply.metadata.src_node_id


def _place_of(message: Message) -> tuple[str, int]:
    return message.metadata.message_type, message.metadata.dst_node_id


def copied(content: RecordDict) -> RecordDict:
    """Records of their own, with the same values."""
    out = RecordDict()
    for name, record in content.items():
        mine: Any = record.copy()
        out[name] = mine
    return out


def same(found: RecordDict, known: RecordDict) -> bool:
    """Whether two replies say the same, but for the rounding of a latent interest in a batch of another size."""
    if set(found) != set(known):
        return False
    for name, record in known.items():
        if not isinstance(record, ArrayRecord):
            if found[name] != record:
                return False
        elif any(not np.allclose(found.array_records[name][k].numpy(), record[k].numpy(), atol=1e-6) for k in record):
            return False
    return True


# -- replies on their way up -----------------------------------------------------------------------------------------


class Wave:
    """One wave of a method, whose devices answer as they did in truth, less the alterations."""

    def __init__(self, bench: Bench, method: str, policy: str, session: int) -> None:
        self.bench, self.session = bench, session
        self.strategy = bench.strategy(method)
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
                if _place(reply) != (kind, victim.node):
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


def believable(honest: RecordDict, told: RecordDict, victim: DeviceSession) -> bool:
    """Whether nobody could know that ``told`` is not what the device has to say, which is ``honest``."""
    if told == honest:
        return True
    if set(told) == {"measured"} == set(honest) and "events" in honest["measured"]:
        return _believable_report(dict(honest["measured"]), dict(told["measured"]), victim)
    if set(told) - {"measured", "request"}:
        return False
    cost: Any = told["measured"]
    if set(cost) - {"macs", "probe"} or type(cost["macs"]) is not int or not 0 <= cost["macs"] < 2**40:
        return False
    if "request" not in told:
        return True  # whether a device wants something is its own affair
    if not isinstance(told["request"], ArrayRecord) or set(told["request"]) != {"path", "latent"}:
        return False
    path, latent = (told.array_records["request"][key].numpy() for key in ("path", "latent"))
    bound = np.isfinite(latent).all() and latent.shape == (64,) and latent.dtype == np.float32
    return bool(bound and path.shape == (1,) and path.dtype == np.uint8 and path[0] < 2**BLOCKS)


def _believable_report(honest: dict[str, Any], told: dict[str, Any], victim: DeviceSession) -> bool:
    """Quality is the device's word, as far as it is possible at all; the rest follows from what was sent."""
    if set(honest) != set(told) or any(type(told[name]) is not type(honest[name]) for name in honest):
        return False
    free = {"hits", "ndcg", "hits_stale", "ndcg_stale", "hits_fresh", "ndcg_fresh", "macs_adapt", "macs_decide"}
    free |= {"hits_1", "hits_5", "hits_20", "ndcg_5", "ndcg_20", "mrr"}
    counts = [0, *(told[name] for name in ("hits_1", "hits_5", "hits", "hits_20")), victim.events]
    sums = [told[name] for name in ("hits_1", "ndcg_5", "ndcg", "ndcg_20")]
    if counts != sorted(counts) or sums != sorted(sums) or sums[-1] > counts[-2] * 1.000001:
        return False
    if not counts[1] * 0.999999 <= told["mrr"] <= sums[-1] + (victim.events - counts[-2]) / 21 + 1e-6:
        return False  # 1 / rank is at most 1 / log2(1 + rank)
    for kind in ("", "_stale", "_fresh"):
        if f"hits{kind}" in told:
            hits, ndcg = told[f"hits{kind}"], told[f"ndcg{kind}"]
            if not (0 <= hits <= victim.events and 0.289 * hits <= ndcg <= 1.000001 * hits):
                return False
    if not all(0 <= told[name] < 2**40 for name in ("macs_adapt", "macs_decide")):
        return False
    free |= {"macs", "macs_paper"} if honest["macs"] == told["macs"] or told["macs"] > 0 else set()
    near = all(abs(told[name] - honest[name]) < 0.5 * honest[name] for name in ("macs", "macs_paper"))
    return near and all(told[name] == honest[name] for name in honest if name not in free)


# -- messages on their way down --------------------------------------------------------------------------------------


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
        if row != victim and (reply.has_error() or not same(reply.content, wave.known[_place(reply)])):
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


def sensible(honest: RecordDict, told: RecordDict) -> bool:
    """Whether a device can do what ``told`` says, though ``honest`` says something else."""
    if told == honest:
        return True
    for name in set(honest) | set(told):
        if name not in told:
            if name in ("model", "session", "stream"):
                return False
            continue  # without a budget nothing is limited, without a policy a device always adapts
        record: Any = told[name]
        if name not in honest:
            return False
        if name == "stream":
            if not _sensible_stream(record):
                return False
            continue
        if isinstance(record, ArrayRecord):
            if not _sensible_network(record):
                return False
            continue
        real: Any = honest[name]
        if set(record) != set(real) or any(type(record[key]) is not type(real[key]) for key in real):
            return False
        for key, value in record.items():
            if isinstance(value, float) and not value >= 0:
                return False
            if isinstance(value, int) and key != "seed" and not -1 <= value <= 2**53:
                return False
        fixed = ("digest", "context") if name == "model" else ()
        if any(record[key] != real[key] for key in fixed):
            return False
        if name == "model" and record["history_length"] < 1:
            return False
    return True


def _sensible_stream(record: ArrayRecord) -> bool:
    if not isinstance(record, ArrayRecord) or set(record) != {"past", "now"}:
        return False
    for array in record.values():
        items = np.frombuffer(array.data, dtype="<i4") if len(array.data) % 4 == 0 else np.zeros(1)
        if array.dtype != "int32" or tuple(array.shape) != (len(items),) or not ((items >= 1) & (items <= ITEMS)).all():
            return False
    return len(record["now"].data) > 0


def _sensible_network(record: ArrayRecord) -> bool:
    if "path" not in record:
        return False
    path = record["path"].numpy()
    if path.shape != (1,) or path.dtype != np.uint8 or path[0] >= 2**BLOCKS:
        return False
    named = {f"block.{k}" for k in range(BLOCKS) if path[0] >> k & 1}
    arrays = {key: record[key].numpy() for key in record if key != "path"}
    return set(arrays) == named and all(
        a.shape == (20_800,) and a.dtype == np.float32 and np.isfinite(a).all() for a in arrays.values()
    )


# -- the command -----------------------------------------------------------------------------------------------------


def fuzz(folder: Path, cases: int, seed: int) -> Counter[tuple[str, str, str]]:
    """Counts of (direction, field, verdict) over ``cases`` altered messages, half of them in each direction."""
    random, bench, counts = Random(seed), Bench(folder), Counter[tuple[str, str, str]]()
    waves = [
        Wave(bench, method, policy, session)
        for method in METHODS_TRIED
        for policy in (POLICIES_TRIED if METHODS[method].adapts else POLICIES_TRIED[:1])
        for session in (0, SESSIONS - 1)
    ]
    for case in range(cases):
        wave = random.choice(waves)
        up = case % 2 == 0
        field, verdict = wave.altered(random) if up else altered_batch(wave, random)
        counts["up" if up else "down", field, verdict] += 1
    return counts


def main() -> int:
    """The command; 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000, help="altered messages")
    parser.add_argument("--seed", type=int, default=0, help="of the alterations")
    options = parser.parse_args()
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
