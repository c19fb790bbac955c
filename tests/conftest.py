"""What every test finds: one thread, and a Flower task to make messages in."""

import atexit
import os
import shutil
import tempfile

import pytest
import torch
from flwr.clientapp import ClientApp

from sim.backends.inprocess import InProcessGrid

# Here and in the processes that tests start: sums over two threads round differently, so rows could differ.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

# What is installed on devices without a folder of their own goes here, and not into the user's.
os.environ["SIM_DEVICE_DIR"] = tempfile.mkdtemp(prefix="devices-of-tests-")
atexit.register(shutil.rmtree, os.environ["SIM_DEVICE_DIR"], ignore_errors=True)


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--write-golden``: see ``tests/golden``."""
    parser.addoption("--write-golden", action="store_true", help="write the frozen rows of tests/golden again")


@pytest.fixture(autouse=True)
def _flower_task() -> None:
    """`flwr.app.Message` reads the identity of the running task; a grid sets it."""
    InProcessGrid(ClientApp(), 1)
