"""What a device remembers, and that a session that is played again finds what it found the first time."""

from pathlib import Path

import numpy as np
import pytest

from clients.device_state import DeviceState, PendingDecision, StoredNetwork

PATH = np.array([True, False, True])


def kept(session: int) -> StoredNetwork:
    weights = {0: np.full(4, session, dtype=np.float32), 2: np.full(4, -session, dtype=np.float32)}
    return StoredNetwork(session, np.full(64, session, dtype=np.float32), PATH, weights)


def test_a_network_is_found_in_later_sessions_only(tmp_path: Path) -> None:
    memory = DeviceState(str(tmp_path), 3)
    assert memory.adapted(0) is None
    memory.save_network(kept(0))
    memory.save_network(kept(4))
    assert [memory.adapted(s) for s in (0, 1, 4, 5, 9)] == [None, 0, 0, 4, 4]
    found = memory.network(4)
    assert found.path.tolist() == PATH.tolist()
    assert sorted(found.weights) == [0, 2]
    assert found.weights[2].tolist() == [-4] * 4
    assert memory.interest(4).tolist() == [4] * 64
    assert DeviceState(str(tmp_path), 2).adapted(9) is None


def test_one_network_from_before_is_kept_for_a_session_that_is_played_again(tmp_path: Path) -> None:
    memory = DeviceState(str(tmp_path), 0)
    for session in (0, 2, 5):
        memory.save_network(kept(session))
    assert memory.adapted(5) == 2
    assert memory.adapted(2) is None  # that of session 0 is gone
    memory.save_network(kept(5))  # session 5 once more
    assert memory.adapted(5) == 2
    assert memory.adapted(6) == 5
    assert len(list(tmp_path.rglob("*.safetensors"))) == 2


def test_losses_of_a_repeated_session_replace_those_of_the_first_time(tmp_path: Path) -> None:
    memory = DeviceState(str(tmp_path), 0)
    memory.save_losses(0, np.array([0.1, 0.2]))
    memory.save_losses(1, np.array([0.3]))
    memory.save_losses(2, np.array([0.4, 0.5]))
    assert memory.losses(0, 2).tolist() == [0.1, 0.2, 0.3]
    assert memory.losses(1, 3).tolist() == [0.3, 0.4, 0.5]
    memory.save_losses(1, np.array([0.9]))
    assert memory.losses(0, 9).tolist() == [0.1, 0.2, 0.9]


def test_a_decision_belongs_to_its_session(tmp_path: Path) -> None:
    memory = DeviceState(str(tmp_path), 0)
    memory.save_pending(PendingDecision(3, True, np.ones(64, dtype=np.float32)))
    assert memory.pending(3).asked
    assert memory.pending(3).interest.tolist() == [1] * 64
    with pytest.raises(LookupError, match="session 3, not for 4"):
        memory.pending(4)


def test_nothing_half_written_is_left(tmp_path: Path) -> None:
    memory = DeviceState(str(tmp_path), 0)
    memory.save_network(kept(0))
    assert not list(tmp_path.rglob("*.part"))
