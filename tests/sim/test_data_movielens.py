"""MovieLens: the exact formats, damaged files, and the paper's numbers on the real set."""

import os
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from core.errors import UserError
from sim.data import load
from sim.data.movielens import parse_movies, parse_ratings

MOVIES_1M = "1::Toy Story (1995)::Animation|Comedy\n2::Cité: Part 2 (1995)::Drama\n3::Unrated (1990)::Comedy\n"
MOVIES_10M = "1::Toy Story (1995)::Animation|Comedy\n2::Amélie (2001)::(no genres listed)\n"


def ratings(movie_counts: dict[int, int]) -> str:
    """Movie m rated by users 1..count, later movies at earlier times: the file is not in time order."""
    lines = [
        f"{user}::{movie}::{1 + user % 5}::{978300000 - 100 * movie + user}"
        for movie, count in movie_counts.items()
        for user in range(1, count + 1)
    ]
    return "\n".join(lines) + "\n"


def write_zip(folder: Path, members: dict[str, bytes], name: str = "ml-1m.zip") -> Path:
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return folder / name


@pytest.fixture
def ml1m_zip(tmp_path: Path) -> Path:
    members = {
        "ml-1m/ratings.dat": ratings({1: 21, 2: 22, 3: 20}).encode(),
        "ml-1m/movies.dat": MOVIES_1M.encode("latin-1"),
    }
    return write_zip(tmp_path, members)


def test_ml1m_keeps_items_with_more_than_twenty_ratings(ml1m_zip: Path) -> None:
    data = load("ml1m", ml1m_zip.parent)
    assert data.item_ids == ["", "1", "2"]  # 3 has exactly twenty
    assert data.item_titles == ["", "Toy Story (1995)", "Cité: Part 2 (1995)"]
    assert data.genre_names == ["Animation", "Comedy", "Drama"]
    assert data.genres.tolist() == [[False] * 3, [True, True, False], [False, False, True]]
    assert (data.num_users, data.num_interactions) == (22, 43)
    assert data.items[:2].tolist() == [2, 1]  # movie 2 was rated before movie 1
    assert data.times[:2].tolist() == [978299801, 978299901]
    assert data.items[data.offsets[21] :].tolist() == [2]  # user 22 is not dropped


def test_unpacked_folder_gives_the_same(ml1m_zip: Path, tmp_path: Path) -> None:
    from_zip = load("ml1m", ml1m_zip.parent)
    unpacked = tmp_path / "elsewhere"
    with zipfile.ZipFile(ml1m_zip) as archive:
        archive.extractall(unpacked)
    assert load("ml1m", unpacked).digest() == from_zip.digest()
    assert load("ml1m", unpacked / "ml-1m").digest() == from_zip.digest()


def test_ml10m_has_half_stars_and_utf8_titles(tmp_path: Path) -> None:
    lines = [f"{user}::{movie}::{user % 10 / 2 + 0.5:g}::{1000 + user}" for movie in (2, 1) for user in range(1, 22)]
    members = {
        "ml-10M100K/ratings.dat": "\n".join(lines).encode(),
        "ml-10M100K/movies.dat": MOVIES_10M.encode("utf-8"),
    }
    write_zip(tmp_path, members, "ml-10m.zip")
    data = load("ml10m", tmp_path)
    assert data.item_titles == ["", "Toy Story (1995)", "Amélie (2001)"]
    assert not data.genres[2].any()
    assert (data.num_users, data.num_interactions) == (21, 42)
    assert data.items[:2].tolist() == [2, 1]  # equal times: the order of the file


def test_parsed_columns() -> None:
    rows = parse_ratings(b"1::1193::5::978300760\r\n2::661::3.5::978302109\r\n")
    assert [rows.user_ids[code] for code in rows.users] == ["1", "2"]
    assert [rows.item_ids[code] for code in rows.items] == ["1193", "661"]
    assert rows.times.tolist() == [978300760_000_000, 978302109_000_000]


@pytest.mark.parametrize(
    "bad",
    [
        "17::5::3",
        "17::5::3::978300760::1",
        "17::5::three::978300760",
        "17::5::nan::978300760",
        "17::5::inf::978300760",
        "17::5::3::yesterday",
        "17::5::3::",
        "17::5::3::-978300760",
        "17::5::3::978300760000",
        "17:5:3:978300760",
        "17:::5::3::978300760",
        "17,5,3,978300760",
        "u17::5::3::978300760",
        "17.5::5::3::978300760",
        "17::5::3::97830076017::5::3::978300760",
        "17::x5::3::99999999999999999999999",
        '17::"5::3::978300760',
        "",
        "<html>",
    ],
)
@pytest.mark.parametrize("number", [1, 2, 17, 39])
def test_malformed_rating_is_reported_by_its_line(bad: str, number: int) -> None:
    lines = [f"{n}::5::3::978300760" for n in range(1, 41)]
    lines[number - 1] = bad
    with pytest.raises(UserError) as caught:
        parse_ratings(("\n".join(lines) + "\n").encode())
    expected = f"ratings.dat line {number}: expected UserID::MovieID::Rating::Timestamp, found {bad[:80]!r}"
    assert str(caught.value) == expected


def test_two_errors_that_cancel_each_other_are_still_found() -> None:
    text = b"1::2::3::4\n1::2::3\n1::2::3::4::5\n"  # the number of colons is right
    with pytest.raises(UserError, match="line 2:"):
        parse_ratings(text)
    with pytest.raises(UserError, match="line 1:"):
        parse_ratings(b"1::2::3::4::5\n1::2::3\n")
    with pytest.raises(UserError, match="line 1:"):
        parse_ratings(b"1::2::3::4\r5::6::7::8\n1::2::3::4\n")


def test_error_says_which_file(ml1m_zip: Path) -> None:
    members = {
        "ml-1m/ratings.dat": b"1::2::3::4\n1::2::x::4\n",
        "ml-1m/movies.dat": MOVIES_1M.encode("latin-1"),
    }
    path = write_zip(ml1m_zip.parent, members)
    with pytest.raises(UserError) as caught:
        load("ml1m", path.parent)
    expected = "ratings.dat line 2: expected UserID::MovieID::Rating::Timestamp, found '1::2::x::4'"
    assert str(caught.value) == f"{expected} (in {path})"


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_empty_ratings(content: bytes) -> None:
    with pytest.raises(UserError, match=r"ratings\.dat is empty"):
        parse_ratings(content)


@pytest.mark.parametrize("bad", ["4::No genres", "x::Title::Drama", "Heat", "4"])
def test_malformed_movie_is_reported_by_its_line(bad: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_movies(f"1::A::Drama\n2::B::Drama\n{bad}\n".encode(), "utf-8")
    assert str(caught.value) == f"movies.dat line 3: expected MovieID::Title::Genres, found {bad!r}"


def test_movie_in_the_wrong_encoding_is_reported_by_its_line() -> None:
    with pytest.raises(UserError, match=r"movies\.dat line 2: not utf-8 text"):
        parse_movies("1::A::Drama\n2::Cité::Drama\n".encode("latin-1"), "utf-8")


def test_titles_may_hold_colons() -> None:
    titles, genres = parse_movies(b"260::Star Wars: Episode IV::Sci-Fi\n261::A::B::C|D", "utf-8")
    assert titles == {"260": "Star Wars: Episode IV", "261": "A::B"}
    assert genres == {"260": ["Sci-Fi"], "261": ["C", "D"]}


@pytest.mark.parametrize("share", [0.02, 0.5, 0.97])
def test_truncated_zip(ml1m_zip: Path, share: float) -> None:
    content = ml1m_zip.read_bytes()
    ml1m_zip.write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"ml-1m\.zip is not a readable zip file"):
        load("ml1m", ml1m_zip.parent)


def test_corrupt_zip(ml1m_zip: Path) -> None:
    content = bytearray(ml1m_zip.read_bytes())
    content[60:80] = bytes(20)  # inside the compressed ratings
    ml1m_zip.write_bytes(content)
    with pytest.raises(UserError, match=r"ml-1m\.zip is not a readable zip file"):
        load("ml1m", ml1m_zip.parent)


def test_zip_without_the_member(tmp_path: Path) -> None:
    write_zip(tmp_path, {"ml-100k/u.data": b""})
    with pytest.raises(UserError, match=r"ml-1m\.zip has no member ml-1m/ratings\.dat \(it holds ml-100k/u\.data\)"):
        load("ml1m", tmp_path)


def test_folder_without_movies(tmp_path: Path) -> None:
    (tmp_path / "ml-1m").mkdir()
    (tmp_path / "ml-1m" / "ratings.dat").write_text(ratings({1: 21}))
    with pytest.raises(UserError, match=r"movies\.dat cannot be read"):
        load("ml1m", tmp_path)


@pytest.mark.real_data
def test_real_ml1m_matches_the_papers_table_6() -> None:
    folder = os.environ.get("SIM_DATA_DIR")
    if not folder or not (Path(folder) / "ml-1m.zip").is_file():
        pytest.skip("$SIM_DATA_DIR has no ml-1m.zip")
    start = time.process_time()
    data = load("ml1m")
    seconds = time.process_time() - start
    assert (data.num_users, data.num_items, data.num_interactions) == (6040, 3011, 994852)
    assert round(data.mean_length, 2) == 164.71
    assert seconds < 10
    same_user = np.ones(data.num_interactions - 1, dtype=bool)
    same_user[data.offsets[1:-1] - 1] = False
    assert (np.diff(data.times)[same_user] >= 0).all()
    assert np.unique(data.items).tolist() == list(range(1, 3012))
    assert data.genre_names[:3] == ["Action", "Adventure", "Animation"]
    assert len(data.genre_names) == 18
    # User 1's first ratings in time order, ties in the order of the file.
    titles = [data.item_titles[item] for item in data.items[:3]]
    assert titles == ["Girl, Interrupted (1999)", "Back to the Future (1985)", "Titanic (1997)"]
