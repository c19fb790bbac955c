"""Amazon: three layouts of the same reviews, the filter, and rows whose time is not known."""

import gzip
import lzma
import os
from pathlib import Path

import pytest

from core.errors import UserError
from sim.data import load

DAY = 86_400


def reviews() -> list[tuple[str, str, str, int]]:
    """(user, item, rating, time): A1 has ten reviews, newest first, B2 nine and a repeated row, C3 eleven."""
    rows = [("A1", f"0700{n}", "5.0", (20 - n) * DAY) for n in range(10)]
    rows += [("B2", f"0700{n}", "4.0", n * DAY) for n in range(9)] + [("B2", "07000", "4.0", 0)]
    rows += [("C3", f"B000{n:02d}", "1.0", 5 * DAY) for n in range(11)]
    return rows


def check(folder: Path, name: str) -> None:
    data = load("amazon-game", folder)
    assert data.name == name
    assert data.user_ids == ["A1", "C3"]  # B2 has nine without the repeated row
    assert data.item_ids[:3] == ["", "07000", "07001"]
    assert (data.num_items, data.num_interactions) == (21, 21)  # an item with one review stays
    assert data.items[:10].tolist() == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert data.items[10:].tolist() == list(range(11, 22))  # ties keep the order of the file
    assert data.times[0] == 11 * DAY


@pytest.mark.parametrize("suffix", ["", ".gz", ".xz"])
def test_2018_names_the_item_first(tmp_path: Path, suffix: str) -> None:
    text = "".join(f"{item},{user},{rating},{time}\n" for user, item, rating, time in reviews()).encode()
    packed = {"": text, ".gz": gzip.compress(text), ".xz": lzma.compress(text)}[suffix]
    (tmp_path / f"Video_Games.csv{suffix}").write_bytes(packed)
    check(tmp_path, "amazon-game")


def test_2014_names_the_user_first(tmp_path: Path) -> None:
    text = "".join(f"{user},{item},{rating},{time}\n" for user, item, rating, time in reviews())
    (tmp_path / "ratings_Video_Games.csv").write_text(text)
    check(tmp_path, "amazon-game-2014")
    (tmp_path / "Video_Games.csv").write_text("".join(f"i,u{n % 2},1.0,{n}\n" for n in range(20)))
    assert load("amazon-game", tmp_path).user_ids == ["u0", "u1"]  # 2018 is preferred


def test_food_is_another_category(tmp_path: Path) -> None:
    (tmp_path / "Video_Games.csv").write_text("x,y,1.0,5\n")
    (tmp_path / "ratings_Grocery_and_Gourmet_Food.csv").write_text("".join(f"A,i{n},1.0,{n}\n" for n in range(10)))
    assert load("amazon-food", tmp_path).num_items == 10


def test_a_bad_row_is_reported_by_its_line(tmp_path: Path) -> None:
    (tmp_path / "Video_Games.csv").write_text("x,y,1.0,5\nx,y,1.0\n")
    with pytest.raises(UserError, match=r"Video_Games\.csv line 2: expected 4 fields, found 3"):
        load("amazon-game", tmp_path)


def extract(folder: Path, lines: list[str]) -> None:
    text = "\n".join(["user_id,item_id,position,timestamp", *lines])
    (folder / "amazon2014_Video_Games_5core.csv.xz").write_bytes(lzma.compress(text.encode()))


def test_positions_give_the_order_and_unknown_times_are_carried_forward(tmp_path: Path) -> None:
    lines = [f"1,{20 - place},{place},{place // 3 * DAY + DAY if 1 < place < 8 else ''}" for place in range(10)]
    lines += [f"2,{place + 1},{place}," for place in range(10)]
    extract(tmp_path, lines[5:10] + lines[:5] + lines[10:])
    data = load("amazon-game", tmp_path)
    assert data.name == "amazon-game-2014-5core"
    titles = [int(data.item_ids[item]) for item in data.items]
    assert titles[:10] == list(range(20, 10, -1))
    assert (data.times[:10] // DAY).tolist() == [1, 1, 1, 2, 2, 2, 3, 3, 3, 3]
    assert titles[10:] == list(range(1, 11))
    assert set(data.times[10:]) == {DAY}


def test_times_against_the_positions_are_an_error(tmp_path: Path) -> None:
    extract(tmp_path, [f"1,{place},{place},{100 - (place == 7)}" for place in range(10)])
    with pytest.raises(UserError, match="times of user 1 are not in the order of their positions"):
        load("amazon-game", tmp_path)


def test_nowhere_to_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sim.data.files.cache_folder", lambda: tmp_path)
    monkeypatch.delenv("SIM_DATA_DIR", raising=False)
    with pytest.raises(UserError, match=r"Grocery_and_Gourmet_Food\.csv.*no checksum.*nijianmo\.github\.io"):
        load("amazon-food", tmp_path)


@pytest.mark.real_data
@pytest.mark.parametrize(
    ("dataset", "category", "users", "interactions"),
    [
        ("amazon-game", "Video_Games", 6255, 119832),
        ("amazon-food", "Grocery_and_Gourmet_Food", 4323, 86885),
    ],
)
def test_real_extracts(dataset: str, category: str, users: int, interactions: int) -> None:
    name = f"amazon2014_{category}_5core.csv.xz"
    folder = os.environ.get("SIM_DATA_DIR")
    if not folder or not (Path(folder) / name).is_file():
        pytest.skip(f"$SIM_DATA_DIR has no {name}")
    data = load(dataset)
    if data.name != f"{dataset}-2014-5core":
        pytest.skip(f"$SIM_DATA_DIR has another release of {dataset} too")
    assert (data.num_users, data.num_interactions) == (users, interactions)  # counted with awk
