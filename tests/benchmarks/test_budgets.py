"""The mixes of the budget benchmark bind where they should."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

from benchmarks.budgets import _mix, compared
from clients.budget import Budget
from models.adaptation import DevicePart
from models.sasrec import SASRec
from sim.scenario import load_scenario


@pytest.mark.parametrize("blocks", [1, 4, 6])
def test_a_mix_has_room_for_so_many_blocks_and_no_more(tmp_path: Path, blocks: int) -> None:
    scenario = load_scenario(str(_mix(tmp_path, blocks)))
    limits = scenario.limits(scenario.tiers[0])
    assert limits.model_mbyte is not None
    budget = Budget(model_bits=limits.model_mbyte * 8e6)
    part = DevicePart(SASRec(20, 6, 5, torch.Generator().manual_seed(0)), controller=True, interest=True)
    assert budget.blocks_to_fetch(part, 5, 5) == blocks


def test_a_budget_is_compared_with_the_network_trained_for_it_device_by_device() -> None:
    def sessions(method: str, ndcg: list[float]) -> pd.DataFrame:
        return pd.DataFrame({"method": method, "device": [0, 0, 1], "ndcg": ndcg, "events": [2, 2, 4]})

    chosen = pd.concat([sessions("a", [1.0, 1.0, 1.0]), sessions("b", [0.5, 0.0, 0.5])])
    summary = pd.DataFrame({"method": ["b", "a"], "ndcg@10": [1 / 8, 3 / 8]})
    runs = [
        SimpleNamespace(sessions=chosen, summary=summary),
        SimpleNamespace(sessions=sessions("dedicated", [0.5, 0.5, 0.0])),
    ]
    table = compared(*runs).set_index("method")  # type: ignore[arg-type]
    # 3 and 1 of 8 events, against 1: device 0 gains 1 of 4 and loses 1/2, device 1 gains 1 and 1/2 of 4.
    assert table["ndcg@10_delta"].to_dict() == {"b": 0.0, "a": 0.25}
    assert table.loc["a", ["ndcg@10_delta_low", "ndcg@10_delta_high"]].tolist() == [0.25, 0.25]
    assert table.loc["b", ["ndcg@10_delta_low", "ndcg@10_delta_high"]].tolist() == [-0.125, 0.125]
