"""What a device remembers, against a model of it: dictionaries, and the rules that its module's first lines state."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from clients.device_state import DeviceState, PendingDecision, StoredNetwork
from clients.state_store import FolderStore

BLOCKS, SIZE = 3, 4
numbers = st.floats(-1e6, 1e6, width=32)


def row(length: int) -> st.SearchStrategy[np.ndarray]:
    """A row of that many numbers, of which few differ."""
    few = st.lists(numbers, min_size=1, max_size=3)
    return few.map(lambda found: np.resize(np.array(found, dtype=np.float32), length))


class Device(RuleBasedStateMachine):
    """One device that plays its sessions in order, and after a kill the last one again."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="device-state-"))
        self.session = 0
        self.networks: dict[int, StoredNetwork] = {}
        self.losses: dict[int, list[float]] = {}
        self.decision: PendingDecision | None = None

    def teardown(self) -> None:
        shutil.rmtree(self.folder)

    @property
    def state(self) -> DeviceState:
        """Opened anew each time, as by another process."""
        return DeviceState(FolderStore(self.folder / "0-duet" / "000007"))

    @rule(sessions=st.integers(1, 3))
    def go_on(self, sessions: int) -> None:
        """To a later session; what is remembered from the one that was left now counts."""
        self.session += sessions

    @rule(asked=st.booleans(), interest=row(64))
    def decide(self, asked: bool, interest: np.ndarray) -> None:
        self.decision = PendingDecision(self.session, asked, interest)
        self.state.save_pending(self.decision)

    @rule(path=st.lists(st.booleans(), min_size=BLOCKS, max_size=BLOCKS), interest=row(64), data=st.data())
    def adapt(self, path: list[bool], interest: np.ndarray, data: st.DataObject) -> None:
        """A session that is played again writes over what it wrote."""
        weights = {k: data.draw(row(SIZE)) for k in range(BLOCKS) if path[k]}
        network = StoredNetwork(self.session, interest, np.array(path), weights)
        self.networks[self.session] = network
        self.state.save_network(network)

    @rule(losses=st.lists(st.floats(0, 1), max_size=4))
    def play(self, losses: list[float]) -> None:
        self.losses[self.session] = losses
        self.state.save_losses(self.session, np.array(losses))

    @precondition(lambda self: self.decision is not None and self.decision.session != self.session)
    @rule()
    def look_for_a_decision_of_another_session(self) -> None:
        try:
            self.state.pending(self.session)
        except LookupError:
            return
        raise AssertionError("a decision for another session was taken for this one's")

    @invariant()
    def the_last_adaptation_is_the_one_before_this_session(self) -> None:
        earlier = [session for session in self.networks if session < self.session]
        last = max(earlier, default=None)
        assert self.state.adapted(self.session) == last
        if last is None:
            return
        found, expected = self.state.network(last), self.networks[last]
        assert found.session == last
        assert found.path.tolist() == expected.path.tolist() == self.state.path(last).tolist()
        assert found.interest.tobytes() == expected.interest.tobytes() == self.state.interest(last).tobytes()
        assert {k: v.tobytes() for k, v in found.weights.items()} == {
            k: v.tobytes() for k, v in expected.weights.items()
        }

    @invariant()
    def two_networks_are_kept_at_most(self) -> None:
        assert len(list(self.folder.rglob("network-*"))) <= 2
        assert not list(self.folder.rglob("*.part"))

    @invariant()
    def the_decision_is_there(self) -> None:
        if self.decision is None or self.decision.session != self.session:
            return
        found = self.state.pending(self.session)
        assert (found.session, found.asked) == (self.decision.session, self.decision.asked)
        assert found.interest.tobytes() == self.decision.interest.tobytes()

    @invariant()
    def losses_are_those_of_the_sessions_between(self) -> None:
        for first in range(max(0, self.session - 3), self.session + 1):
            expected = [loss for s in range(first, self.session) for loss in self.losses.get(s, [])]
            assert self.state.losses(first, self.session).tolist() == expected


Device.TestCase.settings = settings(max_examples=15, stateful_step_count=12, deadline=None, derandomize=True)
TestDevice = Device.TestCase
