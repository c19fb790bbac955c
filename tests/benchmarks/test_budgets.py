"""The mixes of the budget benchmark bind where they should."""

from pathlib import Path

import pytest
import torch

from benchmarks.budgets import _mix
from clients.budget import Budget
from models.backbones.sasrec import SASRec
from models.checkpoint import Installed
from models.device_part import DevicePart
from sim.world.scenario import load_scenario


@pytest.mark.parametrize("blocks", [1, 4, 6])
def test_a_mix_has_room_for_so_many_blocks_and_no_more(tmp_path: Path, blocks: int) -> None:
    scenario = load_scenario(str(_mix(tmp_path, blocks)))
    limits = scenario.limits(scenario.tiers[0])
    assert limits.model_mbyte is not None
    budget = Budget(model_bits=limits.model_mbyte * 8e6)
    part = DevicePart(SASRec(20, 6, 5, torch.Generator().manual_seed(0)), controller=True, interest=True)
    assert budget.blocks_to_fetch(Installed(part, None, None, "all"), 5, 5) == blocks
