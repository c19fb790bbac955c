"""Threads that compute, and are gone before anybody is forked."""

import sys
import threading
from pathlib import Path

import pytest
import torch

from core.threads import pool


@pytest.mark.skipif(sys.platform != "linux", reason="lists its own threads as Linux does")
def test_no_thread_of_a_pool_is_left_when_it_ends() -> None:
    """Looked at at once, many times: Python's own pool leaves one now and then."""

    def compute(_: int) -> tuple[int, int]:
        (torch.ones(64, 64) @ torch.ones(64, 64)).sum()
        return threading.get_native_id(), torch.get_num_threads()

    for _ in range(200):
        with pool(2) as workers:
            found = list(workers.map(compute, range(8)))
        left = [one for one, _ in found if Path(f"/proc/self/task/{one}").exists()]
        assert not left
        assert {count for _, count in found} == {1}
