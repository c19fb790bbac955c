"""What a device remembers, and that a session that is played again finds what it found the first time."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from clients.device_state import DeviceState, PendingDecision, StoredNetwork
from clients.faults import without_paths
from clients.state_store import forget, open_store
from core.errors import Damaged

PATH = np.array([True, False, True])


def kept(session: int) -> StoredNetwork:
    weights = {0: np.full(4, session, dtype=np.float32), 2: np.full(4, -session, dtype=np.float32)}
    return StoredNetwork(session, np.full(64, session, dtype=np.float32), PATH, weights)


@pytest.fixture(params=["folder", "context"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[int], DeviceState]:
    """Opens the state of a device, where its node has a folder of its own and where it has not."""
    node = {"device-dir": str(tmp_path)} if request.param == "folder" else {}
    context = Context(1, 1, node, RecordDict(), {})  # type: ignore[arg-type]
    return lambda device: DeviceState(open_store(context, "0-duet", device))


def test_a_network_is_found_in_later_sessions_only(store: Callable[[int], DeviceState]) -> None:
    memory = store(3)
    assert memory.adapted(0) is None
    memory.save_network(kept(0))
    memory.save_network(kept(4))
    assert [memory.adapted(s) for s in (0, 1, 4, 5, 9)] == [None, 0, 0, 4, 4]
    found = memory.network(4)
    assert found.path.tolist() == PATH.tolist()
    assert sorted(found.weights) == [0, 2]
    assert found.weights[2].tolist() == [-4] * 4
    assert memory.interest(4).tolist() == [4] * 64
    assert store(2).adapted(9) is None


def test_one_network_from_before_is_kept_for_a_session_that_is_played_again(
    store: Callable[[int], DeviceState],
) -> None:
    memory = store(0)
    for session in (0, 2, 5):
        memory.save_network(kept(session))
    assert memory.adapted(5) == 2
    assert memory.adapted(2) is None  # that of session 0 is gone
    memory.save_network(kept(5))  # session 5 once more
    assert memory.adapted(5) == 2
    assert memory.adapted(6) == 5
    with pytest.raises(LookupError, match="no network of session 0"):
        memory.network(0)


def test_losses_of_a_repeated_session_replace_those_of_the_first_time(store: Callable[[int], DeviceState]) -> None:
    memory = store(0)
    memory.save_losses(0, np.array([0.1, 0.2]))
    memory.save_losses(1, np.array([0.3]))
    memory.save_losses(2, np.array([0.4, 0.5]))
    assert memory.losses(0, 2).tolist() == [0.1, 0.2, 0.3]
    assert memory.losses(1, 3).tolist() == [0.3, 0.4, 0.5]
    memory.save_losses(1, np.array([0.9]))
    assert memory.losses(0, 9).tolist() == [0.1, 0.2, 0.9]


def test_a_decision_belongs_to_its_session(store: Callable[[int], DeviceState]) -> None:
    memory = store(0)
    memory.save_pending(PendingDecision(3, True, np.ones(64, dtype=np.float32)))
    assert memory.pending(3).asked
    assert memory.pending(3).interest.tolist() == [1] * 64
    with pytest.raises(LookupError, match="no decision for session 4"):
        memory.pending(4)


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    context = Context(1, 1, {"device-dir": str(tmp_path)}, RecordDict(), {})
    DeviceState(open_store(context, "0-duet", 3)).save_network(kept(0))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["network-0.safetensors"]
    assert not len(context.state)


@pytest.mark.parametrize("own", [True, False])
def test_a_method_that_has_been_played_is_forgotten_and_no_other(tmp_path: Path, own: bool) -> None:
    context = Context(1, 1, {"device-dir": str(tmp_path)} if own else {}, RecordDict(), {})
    states = {name: DeviceState(open_store(context, name, 3)) for name in ("0-duet", "0-duet-plus")}
    for state in states.values():
        state.save_network(kept(0))
    forget(context, "0-duet")
    assert [state.adapted(1) for state in states.values()] == [None, 0]


def test_a_state_is_the_one_that_a_killed_run_goes_on_with_or_is_refused(
    store: Callable[[int], DeviceState],
) -> None:
    memory = store(3)
    memory.check(2, None)
    with pytest.raises(Damaged, match="network of session 1 is missing"):
        memory.check(2, 1)
    memory.save_network(kept(1))
    memory.check(2, 1)
    memory.save_network(kept(2))  # the session that was killed
    memory.check(2, 1)
    with pytest.raises(Damaged, match="network of session 0 is missing"):
        memory.check(2, 0)


def test_a_damaged_file_is_named_and_a_reply_leaves_its_folder_out(tmp_path: Path) -> None:
    context = Context(1, 1, {"device-dir": str(tmp_path)}, RecordDict(), {})
    memory = DeviceState(open_store(context, "0-duet", 3))
    memory.save_network(kept(1))
    (path,) = tmp_path.rglob("network-1.safetensors")
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(Damaged, match=r"network-1\.safetensors is damaged") as damaged:
        memory.check(2, 1)
    assert without_paths(str(damaged.value)).startswith("network-1.safetensors is damaged")  # what a reply says
