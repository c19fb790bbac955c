"""What every test finds: one thread, and a Flower task to make messages in."""

import os

import pytest
import torch
from flwr.clientapp import ClientApp

from sim.backends.inprocess import InProcessGrid

# Here and in the processes that tests start: sums over two threads round differently, so rows could differ.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--write-golden``: see ``tests/golden``."""
    parser.addoption("--write-golden", action="store_true", help="write the frozen rows of tests/golden again")


@pytest.fixture(autouse=True)
def _flower_task() -> None:
    """`flwr.app.Message` reads the identity of the running task; a grid sets it."""
    InProcessGrid(ClientApp(), 1)
