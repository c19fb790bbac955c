"""More room never forbids what less room allowed, and needing less never costs permission."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clients.budget import Budget
from models.checkpoint import Installed
from tests.support.properties import FEW
from tests.support.seam import BLOCK, adaptive_model

CEILINGS = ("macs", "model_bits", "update_bits", "joules")
PRICES = ("predictions", "joules_per_mac", "joules_per_bit_down", "joules_per_bit_up", "joules_tail")
NEEDS = ("macs", "model_bits", "once", "update_bits", "bits_down", "bits_up")

# Few values that are close together: most pairs of a need and a ceiling then lie near the edge.
small = st.integers(0, 4)
ceiling = st.one_of(st.just(math.inf), st.integers(0, 12).map(float))
budgets = st.builds(
    Budget,
    **dict.fromkeys(CEILINGS, ceiling),
    predictions=small,
    **{name: small.map(float) for name in PRICES[1:]},
)
needs = st.fixed_dictionaries(dict.fromkeys(NEEDS, small))


@FEW
@given(budget=budgets, need=needs, more=st.integers(0, 5), name=st.sampled_from(CEILINGS))
def test_a_higher_ceiling_allows_all_that_a_lower_one_does(
    budget: Budget, need: dict[str, int], more: int, name: str
) -> None:
    higher = replace(budget, **{name: getattr(budget, name) + more})
    assert higher.allows(**need) >= budget.allows(**need)
    assert replace(budget, **{name: math.inf}).allows(**need) >= budget.allows(**need)


@FEW
@given(budget=budgets, need=needs, less=st.integers(0, 4), name=st.sampled_from(NEEDS))
def test_needing_less_is_allowed_wherever_more_is(budget: Budget, need: dict[str, int], less: int, name: str) -> None:
    smaller = {**need, name: max(0, need[name] - less)}
    assert budget.allows(**smaller) >= budget.allows(**need)


@FEW
@given(budget=budgets, need=needs, name=st.sampled_from(PRICES))
def test_energy_that_costs_nothing_is_never_short(budget: Budget, need: dict[str, int], name: str) -> None:
    assert replace(budget, **{name: 0}).allows(**need) >= budget.allows(**need)
    free = replace(budget, **dict.fromkeys(PRICES, 0))
    assert free.allows(**need) == all(
        need[one] <= getattr(budget, one) for one in ("macs", "model_bits", "update_bits")
    )


@FEW
@given(budget=budgets, need=needs)
def test_every_ceiling_is_looked_at_by_itself(budget: Budget, need: dict[str, int]) -> None:
    alone = [replace(Budget(), **{n: getattr(budget, n) for n in (one, *PRICES)}) for one in CEILINGS]
    assert budget.allows(**need) == all(one.allows(**need) for one in alone)


@pytest.mark.parametrize(
    ("need", "joules"),
    [
        ({"macs": 5}, 3 * 5 * 2),
        ({"macs": 5, "once": 7}, (3 * 5 + 7) * 2),
        ({"macs": 0, "bits_down": 10}, 10 * 3 + 100),
        ({"macs": 0, "bits_up": 10}, 10 * 5 + 100),
        ({"macs": 1, "once": 1, "bits_down": 1, "bits_up": 1}, 4 * 2 + 3 + 5 + 100),
        ({"macs": 0, "update_bits": 9}, 0),
    ],
)
def test_the_energy_of_a_session_by_hand(need: dict[str, int], joules: float) -> None:
    """Three predictions, 2 J a multiply-accumulate, 3 J a bit down, 5 J a bit up, 100 J for the radio's tail."""
    prices = {"joules_per_mac": 2, "joules_per_bit_down": 3, "joules_per_bit_up": 5, "joules_tail": 100}
    for room, allowed in ((joules, True), (joules - 0.5, False)):
        budget = Budget(joules=room, predictions=3, **prices)
        assert budget.allows(model_bits=0, **need) == allowed


@pytest.mark.parametrize("more", [0, -1])
def test_the_energy_of_asking_for_nine_blocks_by_hand(more: int) -> None:
    """Down come nine blocks and a path of nine bits in two bytes, up goes such a path with 64 numbers."""
    part = adaptive_model(items=20, blocks=9, context=4, controller=False).device_part
    down, up = 9 * BLOCK * 32 + 16, 64 * 32 + 16
    prices = {"joules_per_bit_down": 3, "joules_per_bit_up": 5, "joules_tail": 100}
    budget = Budget(joules=3 * down + 5 * up + 100 + more, predictions=3, **prices)
    assert budget.blocks_to_fetch(Installed(part, None, None, "all"), context=4, items=5) == (9 if more == 0 else 8)
