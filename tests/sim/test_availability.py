"""Other applications: the chain by its own laws, the trace by hand."""

from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from core.seeds import derive
from sim.world.availability import Chain, read_trace
from sim.world.scenario import load_scenario


def test_a_chain_follows_its_draws_by_hand() -> None:
    chain = Chain(busy_factor=0.25, to_busy=0.2, to_idle=0.6)
    draws = [derive(3, "availability", 5, session) / 2**63 for session in range(40)]
    expected, busy = [], draws[0] < 0.2 / 0.8
    for session in range(40):
        if session:
            busy = draws[session] < 0.4 if busy else draws[session] < 0.2
        expected.append(0.25 if busy else 1.0)
    assert 0.25 in expected
    assert chain.factors(5, 40, seed=3).tolist() == expected
    assert chain.factors(5, 10, seed=3).tolist() == expected[:10]


def test_a_chain_is_busy_as_often_and_as_long_as_its_chances_say() -> None:
    chain = Chain(busy_factor=0.5, to_busy=0.2, to_idle=0.6)
    busy = np.stack([chain.factors(device, 20, seed=0) for device in range(2000)]) == 0.5
    assert abs(busy.mean() - 0.25) < 0.01
    assert abs(busy[:, 0].mean() - 0.25) < 0.03
    assert abs((busy[:, :-1] & ~busy[:, 1:]).sum() / busy[:, :-1].sum() - 0.6) < 0.02


def test_a_trace_repeats_over_devices_and_sessions(tmp_path: Path) -> None:
    (tmp_path / "busy.csv").write_text("device,session,factor\n0,1,0.5\n1,0,0.25\n")
    trace = read_trace(tmp_path / "busy.csv")
    assert trace.factors(0, 3, seed=0).tolist() == [1.0, 0.5, 1.0]
    assert trace.factors(3, 3, seed=0).tolist() == [0.25, 1.0, 0.25]
    (tmp_path / "mix.toml").write_text('base = "paper-device"\n[availability]\ntrace = "busy.csv"\n')
    found = load_scenario(str(tmp_path / "mix.toml")).availability
    assert found is not None
    assert found.factors(2, 2, seed=0).tolist() == [1.0, 0.5]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("device,factor\n0,1\n", "first line must be device,session,factor"),
        ("device,session,factor\n", "at least one line"),
        ("device,session,factor\n0,0,fast\n", "line 2: expected"),
        ("device,session,factor\n0,0,1\n0,1,0\n", "line 3: .* above 0"),
    ],
)
def test_a_trace_that_cannot_be_is_one_clear_line(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "busy.csv").write_text(text)
    with pytest.raises(UserError, match=why) as error:
        read_trace(tmp_path / "busy.csv")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (
            "busy_factor = 1.5\nto_busy = 0.1\nto_idle = 0.1",
            "busy_factor is 1.5; .* at most 1",
        ),
        ("busy_factor = 0.5\nto_busy = 0.1", "to_idle is missing"),
        ("busy_facter = 0.5", "did you mean 'busy_factor'"),
        ('trace = "missing.csv"', "cannot be read"),
    ],
)
def test_an_availability_that_cannot_be_is_one_clear_line(tmp_path: Path, text: str, why: str) -> None:
    (tmp_path / "mix.toml").write_text(f'base = "paper-device"\n[availability]\n{text}\n')
    with pytest.raises(UserError, match=why) as error:
        load_scenario(str(tmp_path / "mix.toml"))
    assert "\n" not in str(error.value)
