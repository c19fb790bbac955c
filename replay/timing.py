"""How long one inference takes on this machine: one thread, batch 1, as a device runs it."""

import time
from collections.abc import Callable

import numpy as np

WARM_UP = 20


def durations(calls: dict[str, Callable[[], object]], repeats: int) -> dict[str, np.ndarray]:
    """Seconds of each of ``repeats`` calls of each function, ``(repeats,)``.

    They take turns, so that what else the machine does meets all of them alike.
    """
    for call in calls.values():
        for _ in range(WARM_UP):
            call()
    taken: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - begin)
    return {name: np.array(values) for name, values in taken.items()}
