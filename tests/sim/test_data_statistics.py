"""Table 6 beside ours."""

from pathlib import Path

import pytest

from sim.data.statistics import TABLE_6, main


def write_movielens(folder: Path) -> None:
    """25 users who each rated the same two films."""
    (folder / "ml-1m").mkdir()
    lines = [f"{user}::{movie}::5::{movie}" for user in range(1, 26) for movie in (1, 2)]
    (folder / "ml-1m" / "ratings.dat").write_text("\n".join(lines))
    (folder / "ml-1m" / "movies.dat").write_text("1::A::Drama\n2::B::Drama\n")


def test_paper_ours_and_the_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_movielens(tmp_path)
    assert main(["ml1m", "--data-dir", str(tmp_path)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["ml1m", "paper", "ours", "difference"]
    assert rows[1] == ["users", "6,040", "25", "-6,015"]
    assert rows[2] == ["items", "3,012", "2", "-3,010"]
    assert rows[3] == ["interactions", "994,852", "50", "-994,802"]
    assert rows[4] == ["mean", "length", "164.71", "2.00", "-162.71"]
    assert rows[5] == ["sparsity", "%", "94.52", "0.00", "-94.52"]


def test_a_data_set_the_paper_does_not_have(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("user,item,timestamp\na,x,1\nb,x,2\nb,y,3\n")
    assert main([str(path)]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0][0] == "shop.csv"
    assert rows[4] == ["mean", "length", "-", "1.50", "-"]
    assert rows[5] == ["sparsity", "%", "-", "25.00", "-"]


def test_a_mistake_is_one_line_and_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ml2m"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.count("\n") == 1


def test_the_papers_means_follow_from_its_counts() -> None:
    for users, _, interactions, mean, _ in TABLE_6.values():
        assert interactions / users == pytest.approx(mean, abs=0.005)
