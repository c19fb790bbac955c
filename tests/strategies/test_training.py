"""How epochs are compared."""

import pytest

from strategies.training import EpochRecord, judged


def test_an_epoch_is_judged_with_its_two_predecessors() -> None:
    records = [EpochRecord(i + 1, 1.0, ndcg, 0.0, 0.0) for i, ndcg in enumerate([0.1, 0.3, 0.2, 0.7, 0.0])]
    assert judged(records) == pytest.approx([0.1, 0.2, 0.2, 0.4, 0.3])
    assert judged([]) == []
