"""The oracle of generated data: devices of a reference by type are told the type in force, and nobody else is."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import Message, RecordDict

from clients.app import app
from clients.messages import MEASURED, REFUSED
from clients.session_config import SessionConfig
from clients.stream import TYPES, pack_types
from core.errors import UserError
from models.backbones.sasrec import SASRec
from models.candidates import Candidates
from models.checkpoint import Sizes, save_model
from models.references import CooccurrenceByType
from sim.config import Config
from sim.data.interactions import Interactions
from sim.data.synthetic import generate
from sim.play import Simulation
from sim.world.drift import Drift, inject
from sim.world.fleet import Fleet
from sim.world.scenario import load_scenario
from sim.world.streams import build_streams, fingerprint
from strategies.references import ReferenceModel
from strategies.wave import DeviceSession
from tests.support.seam import Told, context, order, write_world

ITEMS = 12


@pytest.fixture(scope="module")
def generated() -> Interactions:
    return generate(3)


def test_the_type_of_a_user_is_one_until_the_change_point_and_another_after_it(generated: Interactions) -> None:
    assert generated.types is not None
    for user, point in enumerate(generated.change_points.tolist()):
        mine = generated.types[generated.offsets[user] : generated.offsets[user + 1]]
        parts = [mine] if point < 0 else [mine[:point], mine[point:]]
        assert [len(set(part.tolist())) for part in parts] == [1] * len(parts)
        assert point < 0 or parts[0][0] != parts[1][0]
    assert set(generated.types.tolist()) == {1, 2, 3, 4}


def test_the_films_that_follow_lie_around_the_stride_of_the_type(generated: Interactions) -> None:
    """Of the steps within a genre, most are within one of (2 t - 1) / 8 of the ring for the type t in force."""
    assert generated.types is not None
    first = np.zeros(generated.num_interactions, dtype=bool)
    first[generated.offsets[:-1]] = True
    film = generated.items.astype(int) - 1
    same = ~first[1:] & (film[1:] // 24 == film[:-1] // 24)
    steps = ((film[1:] - film[:-1]) % 24)[same]
    stride = (2 * generated.types[1:][same] - 1) * 24 // 8
    near = np.abs((steps - stride + 12) % 24 - 12) <= 1
    assert near.mean() > 0.8
    wrong = (2 * (generated.types[1:][same] % 4 + 1) - 1) * 24 // 8
    assert (np.abs((steps - wrong + 12) % 24 - 12) <= 1).mean() < 0.2


def test_what_a_donor_does_has_the_donors_type(generated: Interactions) -> None:
    """Types travel with the items: the same pairs of item and type are played, and a swap of one shows."""
    assert generated.types is not None
    coded = replace(
        generated, items=generated.types.astype(np.int32), genres=np.zeros((generated.num_items + 1, 0), bool)
    )
    streams = build_streams(coded, np.arange(80))
    drifted = inject(streams, coded, Drift("a", "", "abrupt", share=1.0, onset=(0.2, 0.6), severity=0.7), seed=5)
    assert (drifted.items != streams.items).any()
    np.testing.assert_array_equal(drifted.items, drifted.types)


def test_types_are_no_part_of_what_is_played(generated: Interactions) -> None:
    streams = build_streams(generated, np.arange(40))
    assert fingerprint(streams) == fingerprint(replace(streams, types=None))


@pytest.mark.parametrize("oracle", [True, False])
def test_the_devices_of_an_oracle_alone_are_told_the_type_at_each_event(generated: Interactions, oracle: bool) -> None:
    streams = build_streams(generated, np.arange(60))
    fleet = Fleet(streams, load_scenario("paper-device"), 0)
    assert streams.types is not None
    for device in range(60):
        for session in range(int(np.diff(streams.session_offsets)[device])):
            told = Simulation(fleet, 0, oracle=oracle).config(DeviceSession(1, device, session))
            assert (TYPES in told.records()) == oracle
            if oracle:
                past, now = streams.of_session(device, session)
                first = int(streams.offsets[device]) + len(past)
                message = Message(RecordDict(dict(told.records())), dst_node_id=1, message_type="evaluate")
                read = SessionConfig.of(message).types
                np.testing.assert_array_equal(read, streams.types[first : first + len(now)])


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """A device that goes up the ring for two events of its session and then down; tables of both types."""
    path = tmp_path_factory.mktemp("oracle")
    write_world(path / "world", [[3, 4, 5, 6, 5, 4]], [[2]])
    reference = CooccurrenceByType(ITEMS, 2 * ITEMS, 2 * ITEMS)
    after = np.concatenate([np.roll(np.arange(ITEMS), -1), np.roll(np.arange(ITEMS), 1)])
    reference.offsets.copy_(torch.arange(2 * ITEMS + 1))
    reference.columns.copy_(torch.from_numpy(after))
    reference.values.fill_(1.0)
    sizes = Sizes("sasrec", ITEMS, 1, 4)
    backbone = sizes.build(torch.Generator())
    assert isinstance(backbone, SASRec)
    candidates: Candidates = "all"
    facts = {"memory": 5, "recipe": {"candidates": candidates}}
    save_model(path / "model", ReferenceModel(backbone, reference).eval(), sizes, facts)
    return Told(path / "world", path / "model", 0, 4, 5)


@pytest.mark.parametrize(("types", "first"), [([1, 1, 2, 2], 4), ([2, 2, 1, 1], 0)])
def test_a_device_ranks_each_event_by_the_table_of_its_type(told: Told, types: list[int], first: int) -> None:
    """The item of each event stands first by the type in force; by the other type it never does."""
    record = pack_types(np.array(types, dtype=np.int32))
    reply = app(order(told, "evaluate.reference", **{TYPES: record}), context(0))
    assert reply.content[MEASURED]["hits_1"] == first  # type: ignore[index]
    assert reply.content[MEASURED]["macs"] == round(np.mean([2, 3, 4, 5]))  # type: ignore[index]


@pytest.mark.parametrize(
    ("types", "why"),
    [(None, "is missing"), ([1, 1, 2], "has 3 entries"), ([1, 1, 2, 3], "holds 3"), ([0] * 4, "beyond")],
)
def test_a_device_that_is_not_told_what_it_needs_refuses(told: Told, types: list[int] | None, why: str) -> None:
    records = {} if types is None else {TYPES: pack_types(np.array(types, dtype=np.int32))}
    reply = app(order(told, "evaluate.reference", **records), context(0))
    assert why in str(reply.content[REFUSED]["reason"])  # type: ignore[index]


def test_it_stands_beside_generated_data_and_nowhere_else(tmp_path: Path) -> None:
    assert Config().check().reference_names[-1] == "cooccurrence-by-type"
    assert "cooccurrence-by-type" not in Config(dataset="ml1m").check().method_names
    with pytest.raises(UserError, match="only generated data have; leave it out, or use --dataset synthetic"):
        Config(dataset="ml1m", references="cooccurrence-by-type").check()
