"""MovieLens 1M and 10M, from the GroupLens zip or its unpacked folder.

Harper and Konstan, The MovieLens Datasets: History and Context, ACM TiiS 2015, https://doi.org/10.1145/2827872.
Both come as `UserID::MovieID::Rating::Timestamp` and `MovieID::Title::Genre|Genre`.

Filter: every rating is a positive, items with more than 20 ratings are kept, no user is dropped. On ML-1M it
gives the paper's Table 6 (its 3,012 items are these 3,011 and the padding id); ML-10M gets the same rule.
"""

import re
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError
from sim.data.columns import Columns
from sim.data.files import Download, locate
from sim.data.interactions import Interactions, build_interactions
from sim.data.raw import Raw
from sim.data.table import Extra, Rows, read_rows
from sim.data.times import MICROSECONDS

ITEMS_WITH_MORE_THAN = 20
LATEST_TIME = 10**11  # seconds, far in the future; larger numbers are milliseconds or no times at all
_RATINGS = Columns("::", (), 0, 4, user=0, item=1, time=3)
_RATING_LINE = re.compile(rb"\d{1,18}::\d{1,18}::(\d+(\.\d*)?|\.\d+)::(?P<time>\d{1,18})")


@dataclass(frozen=True)
class _Release:
    name: str
    folder: str  # inside the zip, and of the unpacked files
    encoding: str  # of movies.dat
    home: str
    download: Download


_ML1M = _Release(
    name="ml1m",
    folder="ml-1m",
    encoding="latin-1",
    home="https://grouplens.org/datasets/movielens/1m/",
    download=Download(
        "https://files.grouplens.org/datasets/movielens/ml-1m.zip", "md5:c4d9eecfca2ab87c1945afe126590906"
    ),
)
_ML10M = _Release(
    name="ml10m",
    folder="ml-10M100K",
    encoding="utf-8",
    home="https://grouplens.org/datasets/movielens/10m/",
    download=Download(
        "https://files.grouplens.org/datasets/movielens/ml-10m.zip", "md5:ce571fd55effeba0271552578f2648bd"
    ),
)


def load_ml1m(data_dir: Path | None = None) -> Interactions:
    """MovieLens-1M: 6,040 users, 3,011 items, 994,852 interactions.

    Raises:
        UserError: The files are nowhere and cannot be downloaded, are damaged, or hold a malformed line.
    """
    return _load(_ML1M, data_dir)


def load_ml10m(data_dir: Path | None = None) -> Interactions:
    """MovieLens-10M; in the paper's Table 6 69,878 users, 8,882 items, 9,983,342 interactions.

    Raises:
        UserError: The files are nowhere and cannot be downloaded, are damaged, or hold a malformed line.
    """
    return _load(_ML10M, data_dir)


def load_ml1m_people(data_dir: Path | None = None) -> dict[str, tuple[str, int]]:
    """Gender (``F`` or ``M``) and age of MovieLens-1M's users, by raw user id; an age is the lowest of its group.

    Raises:
        UserError: The files are nowhere and cannot be downloaded, are damaged, or hold a malformed line.
    """
    names = [_ML1M.download.file_name, f"{_ML1M.folder}/ratings.dat"]
    path = locate(_ML1M.name, names, data_dir, home=_ML1M.home, download=_ML1M.download)
    read = _from_zip if path.suffix == ".zip" else _from_folder
    return parse_people(read(path, _ML1M.folder, "users.dat"))


def parse_people(data: bytes) -> dict[str, tuple[str, int]]:
    """Gender and age by user id.

    Raises:
        UserError: A line is not `UserID::Gender::Age::Occupation::Zip-code`; names the line.
    """
    found = {}
    for number, line in enumerate(data.decode("latin-1").splitlines(), start=1):
        user, gender, age = [*line.split("::"), "", "", ""][:3]
        if not (user.isdecimal() and gender in ("F", "M") and age.isdecimal()):
            raise UserError(
                f"users.dat line {number}: expected UserID::Gender::Age::Occupation::Zip-code, found {line!r}"
            )
        found[user] = (gender, int(age))
    return found


def _load(release: _Release, data_dir: Path | None) -> Interactions:
    names = [release.download.file_name, f"{release.folder}/ratings.dat"]
    path = locate(release.name, names, data_dir, home=release.home, download=release.download)
    read = _from_zip if path.suffix == ".zip" else _from_folder
    ratings_file, movies_file = (read(path, release.folder, name) for name in ("ratings.dat", "movies.dat"))
    try:
        rows = parse_ratings(ratings_file)
        titles, genres = parse_movies(movies_file, release.encoding)
    except UserError as error:
        raise UserError(f"{error} (in {path if path.suffix == '.zip' else path.parent})") from error
    return build_interactions(
        release.name,
        rows.users,
        rows.items,
        rows.times,
        rows.user_ids,
        rows.item_ids,
        items_with_more_than=ITEMS_WITH_MORE_THAN,
        titles=titles,
        genres=genres,
        ticks=MICROSECONDS,
    )


def _from_zip(path: Path, folder: str, name: str) -> bytes:
    member = f"{folder}/{name}"
    try:
        with zipfile.ZipFile(path) as archive:
            if member not in archive.namelist():
                found = ", ".join(archive.namelist()[:8]) or "nothing"
                raise UserError(f"{path} has no member {member} (it holds {found}); get the publisher's file again")
            return archive.read(member)
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, OSError) as error:
        raise UserError(f"{path} is not a readable zip file ({error}); delete it and get it again") from error


def _from_folder(ratings: Path, folder: str, name: str) -> bytes:
    path = ratings.with_name(name)
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); it belongs beside {ratings.name}") from error


def parse_ratings(data: bytes) -> Rows:
    """Rows in the order of the lines of `ratings.dat`.

    Raises:
        UserError: The file is empty, or a line is not `UserID::MovieID::Rating::Timestamp`; names the first.
    """
    data = data.rstrip()
    if not data:
        raise UserError("ratings.dat is empty; get the publisher's file again")
    try:
        rows = read_rows(Raw("ratings.dat", data), _RATINGS, Extra(number=2))
    except UserError as error:
        raise UserError(_first_bad_line(data) or str(error)) from error
    numbers = all(text.isascii() and text.isdecimal() for text in (*rows.user_ids, *rows.item_ids))
    whole = len(rows.users) == data.count(b"\n") + 1 and rows.time_form == "seconds" and rows.times.min() >= 0
    if not (numbers and whole) and (bad := _first_bad_line(data)):
        raise UserError(bad)
    return rows


def _first_bad_line(data: bytes) -> str | None:
    for number, line in enumerate(data.split(b"\n"), start=1):
        line = line.removesuffix(b"\r")
        match = _RATING_LINE.fullmatch(line)
        if match is None or int(match["time"]) >= LATEST_TIME:
            found = line[:80].decode("latin-1")
            return f"ratings.dat line {number}: expected UserID::MovieID::Rating::Timestamp, found {found!r}"
    return None


def parse_movies(data: bytes, encoding: str) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Titles and genres by movie id.

    Raises:
        UserError: A line is not `MovieID::Title::Genres` in the encoding; names the line.
    """
    titles: dict[str, str] = {}
    genres: dict[str, list[str]] = {}
    for number, raw in enumerate(data.rstrip().split(b"\n"), start=1):
        try:
            line = raw.removesuffix(b"\r").decode(encoding)
        except UnicodeDecodeError as error:
            raise UserError(f"movies.dat line {number}: not {encoding} text: {raw[:80]!r}") from error
        movie, first, rest = line.partition("::")
        title, second, names = rest.rpartition("::")
        if not (movie.isdecimal() and first and second):
            raise UserError(f"movies.dat line {number}: expected MovieID::Title::Genres, found {line[:80]!r}")
        titles[movie] = title
        genres[movie] = [name for name in names.split("|") if name and name != "(no genres listed)"]
    return titles, genres
