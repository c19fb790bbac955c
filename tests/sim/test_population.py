"""Devices on Flower's nodes: shares, files that are installed where they are missing, and messages without paths."""

import hashlib
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Error, Message, RecordDict

from clients import depot
from clients.app import app
from clients.batch_messages import pack_batch, unpack_batch
from core.errors import UserError
from core.run_folder import RunFolder
from core.schema import ORACLES
from sim.backends.inprocess import InProcessGrid
from sim.backends.messaging import register
from sim.backends.population import SHARE, Population
from sim.config import Config
from sim.experiment import execute
from strategies.registry import METHODS
from tests.support import untrained
from tests.support.runs import Stopped, sessions, stop_after, without_report, write_csv

DEVICES = 8
DOWN = {
    "train": {"model", "session", "stream", "budget", "policy", "evaluation"},
    "evaluate": {"model", "session", "stream", "budget", "policy", "evaluation", "network"},
    "query.register": set(),
    "query.install": {"wanted", "install"},
    "query.state": {"state"},
    "query.forget": {"state"},
}
UP = {
    "train": {"request", "measured"},
    "evaluate": {"measured"},
    "query.register": {"device"},
    "query.install": {"missing"},
    "query.state": set(),
    "query.forget": set(),
}


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("SIM_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("SIM_DEVICE_DIR", str(tmp_path / "machine"))
    without_report(monkeypatch)
    untrained.install(monkeypatch)
    return Config(
        dataset=str(write_csv(tmp_path / "data.csv")), devices=DEVICES, methods="forward-ofa", references="none",
        blocks=2, context=5, memory=8, epochs=1, sessions=3, session_length=4, quiet=True, out=tmp_path / "run",
    ).absolute()  # fmt: skip


class Observed(InProcessGrid):
    """Notes every message, and may change what the nodes answer."""

    one_machine = False  # each node is asked, as on Flower's own grids

    def __init__(self, nodes: int, change: Callable[[Message, Message], Message | None] | None = None) -> None:
        super().__init__(app, nodes)
        self.pairs: list[tuple[str, RecordDict, RecordDict]] = []
        self.change = change
        self.playing: set[int] = set()

    def send_and_receive(self, messages: Iterable[Message], *, timeout: float | None = None) -> list[Message]:
        sent = list(messages)
        down = [RecordDict(dict(message.content)) for message in sent]
        replies = []
        for message, told, reply in zip(sent, down, super().send_and_receive(sent), strict=True):
            changed = reply if self.change is None else self.change(message, reply)
            if message.metadata.message_type == "evaluate":
                self.playing.add(message.metadata.dst_node_id)
            if changed is not None:
                up = changed.content if changed.has_content() else RecordDict()
                self.pairs.append((message.metadata.message_type, told, up))
                replies.append(changed)
        return replies


def play(config: Config, grid: InProcessGrid) -> pd.DataFrame:
    execute(config, grid)
    return sessions(config.folder)


def texts(content: RecordDict) -> list[str]:
    """Every text in a message: names of records and fields, and the values that are texts."""
    found = list(content)
    for record in content.values():
        found += list(record)
        if not isinstance(record, ArrayRecord):
            found += [value for value in record.values() if isinstance(value, str)]
    return found


def contents(content: RecordDict) -> list[RecordDict]:
    """What a message tells each of its devices, and what it tells the node of them all."""
    if "batch" not in content:
        return [content]
    own = {name: record for name, record in content.items() if name not in ("batch", "contents")}
    return [RecordDict(own), *unpack_batch(RecordDict({name: content[name] for name in ("batch", "contents")}))]


def walk(grid: Observed, root: str) -> Counter[str]:
    """Check every record of every message; how many there were of each kind."""
    seen: Counter[str] = Counter()
    for kind, down, up in grid.pairs:
        category = kind if kind.startswith("query") else kind.partition(".")[0]
        for content, allowed in ((down, DOWN[category]), (up, UP[category])):
            for one in contents(content):
                assert set(one) <= allowed, (kind, set(one))
                for text in texts(one):
                    assert os.sep not in text, (kind, text)
                    assert root not in text
                    assert ".safetensors" not in text
                seen.update(set(one))
            seen.update({"batch"} & set(content))
    return seen


POLICIES = ("always", "never", "every:2", "random:0.5", "drift:0.1", "adwin:0.5", "page-hinkley:0.1", "mrd:0.5")


@pytest.mark.parametrize("nodes", [3, 2])
def test_no_message_of_any_method_holds_a_path_or_a_record_that_is_not_named(
    config: Config, tmp_path: Path, nodes: int
) -> None:
    grid = Observed(nodes)
    methods = ",".join(name for name in METHODS if name not in ORACLES)
    play(replace(config, methods=methods, candidates="all", devices=3, sessions=1, supernodes=nodes), grid)
    seen = walk(grid, str(tmp_path))
    assert {"model", "session", "stream", "budget", "network", "request", "measured", "install", "missing"} <= set(seen)
    assert ("batch" in seen) == (nodes < 3)
    kinds = {kind for kind, _, _ in grid.pairs}
    assert {"train", "train.random", "evaluate.finetune", "evaluate.litepred", "evaluate.reference"} <= kinds


@pytest.mark.parametrize("policy", [*POLICIES, "oracle:1"])
def test_no_message_of_any_policy_holds_a_path(config: Config, tmp_path: Path, policy: str) -> None:
    grid = Observed(3)
    play(replace(config, policy=policy, compare_stale=True, methods="duet,finetune", devices=3, sessions=2), grid)
    assert walk(grid, str(tmp_path))["policy"] > 0


def test_a_machine_gets_each_file_once_however_many_devices_it_runs(config: Config) -> None:
    grid = Observed(DEVICES)
    play(replace(config, methods="forward-ofa,duet", policy="mrd:0.5", compare_stale=True), grid)
    files = [digest for _, down, _ in grid.pairs if "install" in down for digest in down["install"]]
    assert len(files) == len(set(files)) == 4  # two models and their two detectors
    played = [kind for kind, _, up in grid.pairs if "missing" in up]
    assert played == ["query.install"] * DEVICES * 2  # nothing is missing once the first round begins


@pytest.mark.parametrize("policy", ["always", "drift:0.1"])
@pytest.mark.parametrize("nodes", [1, 5, DEVICES + 3])
def test_the_rows_do_not_depend_on_how_many_nodes_there_are(
    config: Config, tmp_path: Path, nodes: int, policy: str
) -> None:
    config = replace(config, methods="devicerec,finetune,forward-ofa", policy=policy)
    alone = play(config, InProcessGrid(app, DEVICES))
    grid = Observed(nodes)
    shared = play(replace(config, out=tmp_path / "shared", supernodes=nodes), grid)
    assert alone.equals(shared)
    assert len(grid.playing) == min(nodes, DEVICES)  # spare nodes stay idle


@pytest.mark.parametrize("own", [True, False])
def test_a_killed_run_goes_on_where_devices_have_kept_their_states_and_begins_again_where_not(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], own: bool
) -> None:
    """Flower's context ends with the run; the folder of a node does not."""
    config = replace(config, policy="drift:0.1", compare_stale=True)

    def grid(number: int) -> InProcessGrid:
        folder = {"device-dir": str(tmp_path / "nodes")} if own else {}
        return InProcessGrid(app, 4, node_config=folder, seed=number)

    with monkeypatch.context() as patch:
        stop_after(2, patch, RunFolder, "save_part")
        with pytest.raises(Stopped):
            play(config, grid(0))
    rows = play(config, grid(0))
    whole = play(replace(config, out=tmp_path / "whole"), InProcessGrid(app, DEVICES))
    assert rows.equals(whole)
    assert ("are played again" in capfd.readouterr().err) == (not own)


def test_a_run_of_one_backend_goes_on_with_another(config: Config) -> None:
    assert replace(config, backend="ray", supernodes=3).identity() == config.identity()


# -- files -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def population(tmp_path: Path) -> Population:
    grid = InProcessGrid(app, 3, node_config={"device-dir": str(tmp_path / "node")})
    return Population(grid, register(grid, 3), 3)


def file(tmp_path: Path, content: bytes) -> tuple[str, Path]:
    path = tmp_path / "file"
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest(), path


@pytest.mark.parametrize("damage", ["truncated", "another", "empty"])
def test_a_damaged_file_in_the_depot_is_asked_for_again(tmp_path: Path, population: Population, damage: str) -> None:
    digest, path = file(tmp_path, b"content of a model")
    target = tmp_path / "node" / "installed" / f"{digest}.safetensors"
    target.parent.mkdir(parents=True)
    target.write_bytes({"truncated": b"content", "another": b"content of a mode!", "empty": b""}[damage])
    population.install({digest: path}, None)
    assert target.read_bytes() == b"content of a model"


def test_a_file_that_is_not_what_its_name_says_is_not_installed(tmp_path: Path, population: Population) -> None:
    _, path = file(tmp_path, b"content of a model")
    with pytest.raises(UserError, match=r"cannot install file: .*the file 0000.* has the digest .*continues$"):
        population.install({64 * "0": path}, None)
    assert not list((tmp_path / "node").rglob("*.safetensors"))


def test_a_machine_that_keeps_nothing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grid = InProcessGrid(app, 3, node_config={"device-dir": str(tmp_path / "node")})
    digest, path = file(tmp_path, b"content of a model")
    monkeypatch.setattr(depot, "install", lambda folder, record: None)
    with pytest.raises(UserError, match=r"goes on lacking the file .*\$SIM_DEVICE_DIR"):
        Population(grid, register(grid, 3), 3).install({digest: path}, None)


@pytest.mark.parametrize("digests", ["", 64 * "0"])
def test_a_device_that_lacks_what_is_nobodys_costs_itself_alone(config: Config, tmp_path: Path, digests: str) -> None:
    honest = play(config, InProcessGrid(app, DEVICES))
    liar: list[int] = []

    def change(message: Message, reply: Message) -> Message:
        if message.metadata.message_type.startswith("query"):
            return reply
        liar[:] = liar or [message.metadata.dst_node_id]
        if message.metadata.dst_node_id != liar[0]:
            return reply
        missing = ConfigRecord({"digests": digests, "depot": "mine"})
        return Message(RecordDict({depot.MISSING: missing}), reply_to=message)

    rows = play(replace(config, out=tmp_path / "lied"), Observed(DEVICES, change))
    (device,) = rows[rows.status == "rejected"].device.unique()
    assert (rows[rows.device == device].status == "rejected").all()
    others = rows.device != device
    pd.testing.assert_frame_equal(rows[others], honest[others])


def test_a_depot_forgets_what_nobody_has_opened_for_a_month(tmp_path: Path, population: Population) -> None:
    first, path = file(tmp_path, b"first")
    population.install({first: path}, None)
    old = tmp_path / "node" / "installed" / f"{first}.safetensors"
    os.utime(old, (0, 0))
    second, path = file(tmp_path, b"second")
    population.install({second: path}, None)
    assert not old.exists()
    assert (old.parent / f"{second}.safetensors").exists()


def test_ray_may_run_a_device_on_another_machine_the_next_time(tmp_path: Path) -> None:
    """Every call runs on the next of three machines, whichever node it is for."""

    class Wandering(InProcessGrid):
        calls, one_machine = 0, False

        def _open(self, message: Message) -> Context:
            context = super()._open(message)
            Wandering.calls += 1
            context.node_config["device-dir"] = str(tmp_path / str(Wandering.calls % 3))
            return context

    grid = Wandering(app, 8, batch=1)
    digest, path = file(tmp_path, b"content of a model")
    Population(grid, register(grid, 8), 8).install({digest: path}, None)
    assert len(list(tmp_path.rglob(f"{digest}.safetensors"))) == 3


# -- shares ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("nodes", "devices"), [(4, 1000), (3, 7), (2, 65), (5, 5), (9, 4), (32, 33)])
def test_shares_are_even_and_every_node_has_a_part_of_a_wave(nodes: int, devices: int) -> None:
    ids = [1000 + n for n in range(nodes)]
    population = Population(InProcessGrid(app, 1), ids, devices)
    homes = [population.home(address) for address in population.addresses]
    assert len(set(population.addresses)) == devices
    counts = Counter(homes).values()
    assert max(counts) - min(counts) <= max(1, SHARE)
    assert population.nodes == ids[: min(nodes, devices)]
    wave = homes[: 2 * nodes * SHARE]
    assert set(wave) == set(homes)


# -- faults ------------------------------------------------------------------------------------------------------------


def test_a_device_whose_program_fails_costs_the_others_of_its_node_nothing(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clients.session import personal
    from sim import play as loop

    monkeypatch.setattr(loop, "TOLERATED", 0.5)
    good = play(config, InProcessGrid(app, DEVICES))
    real = personal.rerank

    def broken(batch):  # type: ignore[no-untyped-def]
        if 5 in batch.devices and batch.configs[batch.devices.index(5)].session == 1:
            raise RuntimeError("device 5 is broken")
        return real(batch)

    monkeypatch.setattr(personal, "rerank", broken)
    rows = play(replace(config, out=tmp_path / "broken"), InProcessGrid(app, 3))
    hurt = (rows["device"] == 5) & (rows["session"] == 1)
    assert rows[hurt]["status"].tolist() == ["failed"]
    assert rows[~hurt].equals(good[~hurt])


@pytest.mark.parametrize(("tolerated", "stops"), [(0.01, True), (0.5, False)])
def test_a_node_that_dies_costs_its_devices_the_session_and_stops_the_run_past_the_bound(
    config: Config, monkeypatch: pytest.MonkeyPatch, tolerated: float, stops: bool
) -> None:
    from sim import play as loop

    monkeypatch.setattr(loop, "TOLERATED", tolerated)
    dead: list[int] = []

    def change(message: Message, reply: Message) -> Message | None:
        if message.metadata.message_type == "evaluate":
            dead.append(message.metadata.dst_node_id)
            return None if message.metadata.dst_node_id == dead[0] else reply
        return reply

    if stops:
        with pytest.raises(UserError, match=r"2 of 8 devices of a wave failed or were lost.*lost: no reply came back"):
            play(config, Observed(4, change))
        return
    rows = play(config, Observed(4, change))
    hurt = rows["device"].isin(rows.loc[rows["status"] == "lost", "device"].unique())
    assert rows[hurt]["device"].nunique() == 2
    assert set(rows[hurt]["status"]) == {"lost"}
    assert set(rows[~hurt]["status"]) == {"ok"}


def test_a_node_that_always_raises_ends_the_run_before_it_plays(config: Config) -> None:
    def change(message: Message, reply: Message) -> Message:
        if message.metadata.message_type == "query.install":
            return Message(Error(0, "OSError: no space"), reply_to=message)
        return reply

    with pytest.raises(UserError, match=r"^node \d+ cannot install forward-ofa-0\.safetensors: OSError: no space"):
        play(config, Observed(4, change))
    assert not (config.folder / "sessions.parquet").exists()


def test_a_reply_for_other_devices_than_were_asked_is_rejected(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    from sim import play as loop

    monkeypatch.setattr(loop, "TOLERATED", 1.0)

    def change(message: Message, reply: Message) -> Message:
        if message.metadata.message_type == "evaluate":
            first, *others = unpack_batch(reply.content)
            return Message(pack_batch([*others, first, first]), reply_to=message)
        return reply

    assert set(play(config, Observed(4, change))["status"]) == {"rejected"}
