"""The fit against numbers made by hand, and the command on two small networks."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from replay.calibrate import fit, main


def test_a_machine_that_obeys_the_model_is_found_again() -> None:
    macs = np.array([1e6, 2e6, 4e6])
    exact = fit(macs, macs / 2e9, through_origin=True)
    assert exact.gflops == pytest.approx(4.0)  # 2 x 10^9 multiply-accumulates a second
    assert (exact.largest, exact.mean, exact.r2) == pytest.approx((0, 0, 1), abs=1e-12)
    late = fit(macs, 1e-4 + macs / 2e9, through_origin=False)
    assert (late.gflops, late.offset) == pytest.approx((4.0, 1e-4))


def test_what_the_line_misses_is_reported() -> None:
    """Two networks of 1 and 2 million MACs that take 1 and 1 ms: the line y = s x with the least squared relative
    errors has (s - 1)^2 + (2 s - 1)^2 smallest at s = 3/5, so it is 40 % and 20 % off."""
    found = fit(np.array([1e6, 2e6]), np.array([1e-3, 1e-3]), through_origin=True)
    assert found.seconds(np.array([1e6])) == pytest.approx(0.6e-3)
    assert (found.largest, found.mean) == pytest.approx((0.4, 0.3))
    assert found.gflops == pytest.approx(2 / 0.6)
    # seconds 1, 1, 4 at 1, 2, 3 million: R2 = 1 - unexplained / 6 around their mean of 2
    other = fit(np.array([1e6, 2e6, 3e6]), np.array([1.0, 1.0, 4.0]), through_origin=True)
    slope = (1 + 2 + 0.75) / (1 + 4 + 0.5625)
    unexplained = (slope - 1) ** 2 + (2 * slope - 1) ** 2 + (3 * slope - 4) ** 2
    assert other.r2 == pytest.approx(1 - unexplained / 6)


def test_the_command_measures_every_number_of_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--backbone", "nextitnet", "--blocks", "2", "--context", "5", "--items", "50", "--repeats", "5"]
    assert main([*options, "--out", str(tmp_path / "cal")]) == 0
    frame = pd.read_csv(tmp_path / "cal" / "calibration.csv")
    assert frame["blocks"].tolist() == [1, 2]
    assert frame["macs"].tolist() == [122_880 + 3_200, 245_760 + 3_200]  # blocks, and 50 items of 64 numbers
    assert (frame["seconds"] > 0).all()
    assert (tmp_path / "cal" / "calibration.png").stat().st_size > 5_000
    shown = capsys.readouterr().out
    assert "GFLOP/s effective" in shown


@pytest.mark.parametrize(("option", "value"), [("--blocks", "0"), ("--items", "-1"), ("--repeats", "0")])
def test_a_size_that_cannot_be_is_one_clear_line(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([option, value, "--out", str(tmp_path / "cal")]) == 2
    error = capsys.readouterr().err.strip()
    assert error == f"error: {option} is {value}; it must be at least 1"
    assert not (tmp_path / "cal").exists()
