"""The largest DeviceRec that fits, put together from one run for each size."""

import pandas as pd

from benchmarks.ladder import LADDER, largest_that_fits


def size(*served: tuple[int, int, bool, float], blocks: int) -> pd.DataFrame:
    """Rows of ``(device, session, served, ndcg)`` of a network of so many blocks."""
    return pd.DataFrame(
        [
            {"seed": 0, "device": device, "session": session, "blocks": blocks if ok else 0, "ndcg": ndcg}
            for device, session, ok, ndcg in served
        ]
    ).assign(method="devicerec")


def test_every_device_session_is_that_of_the_largest_size_that_was_served() -> None:
    small = size((0, 0, True, 0.1), (0, 1, True, 0.2), (1, 0, False, 0.01), blocks=1)
    middle = size((0, 0, True, 0.3), (0, 1, False, 0.01), (1, 0, False, 0.01), blocks=3)
    large = size((0, 0, False, 0.01), (0, 1, False, 0.01), (1, 0, False, 0.01), blocks=6)
    rows = largest_that_fits([small, middle, large]).set_index(["device", "session"])
    assert rows.blocks.to_dict() == {(0, 0): 3, (0, 1): 1, (1, 0): 0}
    assert rows.ndcg.to_dict() == {(0, 0): 0.3, (0, 1): 0.2, (1, 0): 0.01}
    assert set(rows.method) == {LADDER}
