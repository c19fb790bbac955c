"""Where raw files are looked for, downloads, and names of data sets."""

import hashlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from core.errors import UserError
from sim.data import DATASETS, load
from sim.data import files as data_files
from sim.data.files import Download, locate


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Three places of our own, so that nothing on this machine is found by accident."""
    folders = {name: tmp_path / name for name in ("given", "named", "cache")}
    for folder in folders.values():
        folder.mkdir()
    monkeypatch.setenv("SIM_DATA_DIR", str(folders["named"]))
    monkeypatch.setattr(data_files, "cache_folder", lambda: folders["cache"])
    return folders


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A publisher on this machine that offers set.zip."""
    (tmp_path / "published").mkdir()
    (tmp_path / "published" / "set.zip").write_bytes(b"content")
    handler = partial(QuietHandler, directory=str(tmp_path / "published"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


def find(places: dict[str, Path], **options: object) -> Path:
    return locate("set", ["set.zip", "set/a.dat"], places["given"], home="https://home", **options)  # type: ignore[arg-type]


def test_the_given_folder_comes_before_the_named_one_and_that_before_the_cache(
    places: dict[str, Path],
) -> None:
    for place in ("cache", "named", "given"):
        (places[place] / "set.zip").touch()
        assert find(places) == places[place] / "set.zip"


def test_a_folder_comes_before_a_name(places: dict[str, Path]) -> None:
    (places["given"] / "set").mkdir()
    (places["given"] / "set" / "a.dat").touch()
    (places["named"] / "set.zip").touch()
    assert find(places) == places["given"] / "set" / "a.dat"


def test_a_local_file_is_used_without_a_checksum(places: dict[str, Path]) -> None:
    (places["named"] / "set.zip").write_bytes(b"a reconstruction")
    download = Download("http://127.0.0.1:1/set.zip", "md5:" + "0" * 32)
    assert find(places, download=download) == places["named"] / "set.zip"


def test_missing_files_say_where_we_looked_and_what_to_do(places: dict[str, Path]) -> None:
    with pytest.raises(UserError) as caught:
        find(places)
    message = str(caught.value)
    for part in (*map(str, places.values()), "set.zip", "https://home", "--dataset synthetic needs no files"):
        assert part in message
    assert "\n" not in message


def test_a_given_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is not a folder"):
        locate("set", ["set.zip"], tmp_path / "nowhere", home="https://home")


def test_a_download_is_checked_and_kept(places: dict[str, Path], server: str) -> None:
    download = Download(f"{server}/set.zip", "md5:" + hashlib.md5(b"content").hexdigest())
    path = find(places, download=download)
    assert path == places["cache"] / "set.zip"
    assert path.read_bytes() == b"content"


def test_a_download_with_another_checksum_is_refused(places: dict[str, Path], server: str) -> None:
    download = Download(f"{server}/set.zip", "md5:" + hashlib.md5(b"other").hexdigest())
    with pytest.raises(UserError, match="--dataset synthetic needs no files") as caught:
        find(places, download=download)
    assert "\n" not in str(caught.value)
    assert list(places["cache"].iterdir()) == []


@pytest.mark.parametrize("path", ["gone.zip", ""])
def test_a_download_that_fails(places: dict[str, Path], server: str, path: str) -> None:
    url = f"{server}/{path}" if path else "http://127.0.0.1:1/set.zip"  # not found; nobody listens
    with pytest.raises(UserError, match=r"downloading http.* failed"):
        find(places, download=Download(url, "md5:" + "0" * 32))


@pytest.mark.parametrize(("asked", "meant"), [("ml1", "ml1m"), ("ML1M", "ml1m"), ("ml-10m", "ml10m")])
def test_an_unknown_name_suggests_the_nearest(asked: str, meant: str) -> None:
    with pytest.raises(UserError) as caught:
        load(asked)
    assert f"did you mean {meant}?" in str(caught.value)
    for name in DATASETS:
        assert name in str(caught.value)


def test_an_unknown_name_near_nothing() -> None:
    with pytest.raises(UserError, match="unknown dataset 'xyzzy': known are"):
        load("xyzzy")


def test_a_file_that_is_no_csv(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a file must end in \.csv"):
        load(str(tmp_path / "rows.parquet"))
