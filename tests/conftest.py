"""What every test finds: one thread, and a Flower task to make messages in."""

import atexit
import os
import shutil
import tempfile

import pytest
import torch
from flwr.clientapp import ClientApp
from hypothesis import HealthCheck, settings

from sim.backends.inprocess import InProcessGrid

# Here and in the processes that tests start: sums over two threads round differently, so rows could differ.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)

# What is installed on devices without a folder of their own goes here, and not into the user's.
os.environ["SIM_DEVICE_DIR"] = tempfile.mkdtemp(prefix="devices-of-tests-")
atexit.register(shutil.rmtree, os.environ["SIM_DEVICE_DIR"], ignore_errors=True)

# A machine with other work takes longer; no test fails for that.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--write-golden``: see ``tests/golden``."""
    parser.addoption("--write-golden", action="store_true", help="write the frozen rows of tests/golden again")


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the groups in its own
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With several workers (``-n 2``) the tests of a file stay together, because they share what is slow to make, and
    those that start a network together in one worker, one after the other. Files with slow tests come first, so that no
    worker waits for one at the end."""
    if not hasattr(config, "workerinput"):
        return
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
    for item in items:
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


@pytest.fixture(autouse=True)
def _flower_task() -> None:
    """`flwr.app.Message` reads the identity of the running task; a grid sets it."""
    InProcessGrid(ClientApp(), 1)


@pytest.fixture
def two_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals of two devices, too: all that a draw can hold is known then, and the ends are the devices' own."""
    monkeypatch.setattr("analysis.stats.FEWEST", 2)
