"""What the simulator measures besides: ranks among sampled candidates, and what is recommended at all."""

import os
import shutil
from math import log2
from pathlib import Path

import numpy as np
import pytest
import torch
from flwr.app import ConfigRecord

from clients.app import app
from clients.evaluation import EVALUATION, Evaluation, negatives, note_lists
from clients.messages import MEASURED, REFUSED, read_measured
from core import sealed
from models.checkpoint import Sizes
from models.cloud_models import StaticModel
from tests.support import handmade
from tests.support.seam import BLOCK, Told, context, order, save, write_world

ITEMS = 24
GROUPS = np.array([0, *[0] * 12, *[1] * 12])
"""Items 1 to 12 are of group 0, which the installed network recommends, the last of a group first: 12, 11, ... 1, and
then 13, 14, ... 24."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """Two devices with a session each: one of events at ranks 2, 6 and 14, one of an event at rank 1."""
    path = tmp_path_factory.mktemp("devices")
    write_world(path / "world", [[1, 2, 11, 7, 14], [3, 4, 12]], [[2], [2]])
    by_hand = handmade.model(GROUPS, np.arange(ITEMS + 1), Sizes("sasrec", ITEMS, 1, 4), keep=0.0)
    shared = StaticModel(by_hand.device_part.backbone, torch.Generator())
    weights = np.zeros(BLOCK, dtype=np.float32)
    weights[BLOCK - 64] = 1000
    shared.network[0][0].data.copy_(torch.from_numpy(weights))
    save(path / "model", shared, items=ITEMS, blocks=1, context=4, history=5)
    return Told(path / "world", path / "model", 0, 4, 5, seed=7)


def played(config: Told, device: int, **values: object) -> dict[str, int | float]:
    record = ConfigRecord({"sampled": 0, "lists": "", **values})  # type: ignore[dict-item]
    reply = app(order(config, "evaluate", device, **{EVALUATION: record}), context(device))
    return read_measured(reply, compared=False, sampled=bool(values.get("sampled")))


def test_a_device_reports_every_measure_of_its_ranks(config: Told) -> None:
    found = played(config, 0)
    assert (found["hits_1"], found["hits_5"], found["hits"], found["hits_20"]) == (0, 1, 2, 3)
    assert found["ndcg_5"] == pytest.approx(1 / log2(3))
    assert found["ndcg"] == pytest.approx(1 / log2(3) + 1 / log2(7))
    assert found["ndcg_20"] == pytest.approx(1 / log2(3) + 1 / log2(7) + 1 / log2(15))
    assert found["mrr"] == pytest.approx(1 / 2 + 1 / 6 + 1 / 14)


def test_a_sample_of_all_candidates_is_the_full_ranking(config: Told) -> None:
    for count in (23, 60):
        found = played(config, 0, sampled=count)
        assert (found["hits_sampled"], found["ndcg_sampled"]) == (found["hits"], pytest.approx(found["ndcg"]))


def test_ranks_among_sampled_candidates_count_those_that_are_recommended_before(config: Told) -> None:
    found = played(config, 0, sampled=6)
    before = [{12}, {8, 9, 10, 11, 12}, set(range(1, 14))]  # what the network puts before each event's item
    items, targets = np.array([1, 2, 11, 7, 14]), np.array([11, 7, 14])
    drawn = negatives(6, ITEMS, 7, 0, 0, items, targets, unseen=False)
    gains = [1 / log2(2 + len(ahead & set(mine))) for ahead, mine in zip(before, drawn.tolist(), strict=True)]
    assert found["hits_sampled"] == 3  # of seven candidates none is beyond the tenth place
    assert found["ndcg_sampled"] == pytest.approx(sum(gains))
    assert {name: found[name] for name in ("hits", "mrr")} == {"hits": 2, "mrr": played(config, 0)["mrr"]}


def test_the_draw_depends_on_the_event_alone_and_leaves_out_what_is_no_candidate() -> None:
    items, targets = np.array([5, 6, 7, 8, 9]), np.array([7, 8, 9])
    whole = negatives(4, 30, 3, 2, 1, items, targets, unseen=True)
    for row, mine in enumerate(whole.tolist()):
        assert len(set(mine)) == 4
        assert not set(mine) & set(range(5, 8 + row))
    skipped = negatives(4, 30, 3, 2, 1, items, np.array([7, 0, 9]), unseen=True)
    assert skipped[1].tolist() == [0] * 4  # no prediction
    assert skipped[[0, 2]].tolist() == whole[[0, 2]].tolist()
    assert negatives(4, 30, 3, 2, 2, items, targets, unseen=True).tolist() != whole.tolist()
    assert negatives(4, 30, 4, 2, 1, items, targets, unseen=True).tolist() != whole.tolist()
    everything = negatives(100, 12, 3, 2, 1, items, targets, unseen=True)
    assert [sorted(set(row) - {0}) for row in everything.tolist()] == [
        [1, 2, 3, 4, 8, 9, 10, 11, 12],
        [1, 2, 3, 4, 9, 10, 11, 12],
        [1, 2, 3, 4, 10, 11, 12],
    ]
    seen_too = negatives(100, 12, 3, 2, 1, items, targets, unseen=False)
    assert sorted(set(seen_too[2].tolist()) - {0}) == [*range(1, 9), 10, 11, 12]


def test_devices_note_what_they_recommend_on_their_own_disks_and_say_nothing_of_it(config: Told) -> None:
    folder = Path(os.environ["SIM_DEVICE_DIR"]) / "lists" / "0-duet"
    shutil.rmtree(folder, ignore_errors=True)
    for device in (0, 1):
        assert set(played(config, device, lists="0-duet")) == set(played(config, device))
    for _ in range(2):  # a session that is played again writes the same file
        played(config, 0, lists="0-duet")
    notes = [sealed.read_tensors(path, "")[1] for path in folder.iterdir()]
    assert sorted(note["devices"].tolist() for note in notes) == [[0], [1]]
    assert all(note["items"].tolist() == list(range(3, 13)) for note in notes)


def test_the_note_of_several_devices_is_the_union_of_their_lists(tmp_path: Path) -> None:
    lists = torch.tensor([[[4, 2], [2, 9]], [[9, 1], [0, 0]]])
    note_lists(tmp_path / "0-duet", [5, 8], [0, 0], lists)
    (path,) = (tmp_path / "0-duet").iterdir()
    arrays = sealed.read_tensors(path, "")[1]
    assert {name: value.tolist() for name, value in arrays.items()} == {
        "devices": [5, 8],
        "sessions": [0, 0],
        "items": [1, 2, 4, 9],
    }


@pytest.mark.parametrize(
    ("record", "why"),
    [
        ({"sampled": 0, "lists": "../elsewhere"}, "lists is 'elsewhere', expected letters, digits and hyphens"),
        ({"sampled": -1, "lists": ""}, "sampled is -1"),
        ({"sampled": 10}, "'evaluation' lacks lists"),
    ],
)
def test_a_device_refuses_an_evaluation_that_cannot_be(config: Told, record: dict[str, object], why: str) -> None:
    reply = app(order(config, "evaluate", **{EVALUATION: ConfigRecord(record)}), context(0))  # type: ignore[arg-type]
    assert MEASURED not in reply.content
    assert why in str(reply.content.config_records[REFUSED]["reason"])


def test_without_the_record_nothing_is_measured_besides(config: Told) -> None:
    assert Evaluation.of(order(config, "evaluate")) == Evaluation(0, "")
