"""Files are written whole or not at all, flushed in the right order, and what a kill leaves is swept away."""

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from core import atomic
from core.errors import UserError


def refuse(number: int) -> Callable[..., int]:
    def refused(*args: object, **kwargs: object) -> int:
        raise OSError(number, os.strerror(number))

    return refused


def test_a_file_holds_what_was_written_and_nothing_else_is_left(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file"
    for content, expected in ((b"bytes", b"bytes"), ("Übung", "Übung".encode())):
        assert atomic.write(path, content) == path
        assert path.read_bytes() == expected
    atomic.write(path, lambda temporary: temporary.write_text("by a function"))
    assert path.read_text() == "by a function"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_the_file_is_on_the_disk_before_it_replaces_the_old_one_and_its_folder_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    happened = []
    sync, replace = os.fsync, os.replace

    def noted_sync(descriptor: int) -> None:
        happened.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        sync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        happened.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_sync)
    monkeypatch.setattr(os, "replace", noted_replace)
    atomic.write(tmp_path / "file", b"x")
    assert happened == ["file", "replace", "folder"]
    happened.clear()
    atomic.write(tmp_path / "file", b"x", durable=False)
    assert happened == ["replace"]
    happened.clear()
    atomic.make_folder(tmp_path / "a" / "b")
    assert happened == ["folder", "folder"]  # of each new folder the one that names it


@pytest.mark.parametrize("function", ["write", "fsync", "replace"])
@pytest.mark.parametrize(
    ("number", "cause", "fix"),
    [
        (errno.ENOSPC, "there is no space left on that disk", "free some"),
        (errno.EDQUOT, "the disk quota is used up", "free some space"),
        (errno.EROFS, "that disk is read-only", "another folder (--out"),
    ],
)
def test_a_refusal_is_one_line_leaves_the_old_file_and_no_temporary(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str, number: int, cause: str, fix: str
) -> None:
    path = tmp_path / "file"
    atomic.write(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, function, refuse(number))
        with pytest.raises(UserError) as caught:
            atomic.write(path, b"new")
    line = str(caught.value)
    assert line.startswith(f"{path} cannot be written: {cause}; ")
    assert fix in line
    assert "\n" not in line
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_function_that_fails_leaves_no_temporary(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        atomic.write(tmp_path / "file", fail)
    assert not list(tmp_path.iterdir())


def test_a_path_below_a_file_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("precious")
    with pytest.raises(UserError, match=r"cannot be written: \S+/cache is a file; rename that or name another folder"):
        atomic.write(tmp_path / "cache" / "models" / "x", b"")
    assert (tmp_path / "cache").read_text() == "precious"


def test_a_name_that_is_too_long_or_no_text_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="its name is too long; choose a shorter one"):
        atomic.write(tmp_path / ("x" * 300), b"")
    with pytest.raises(UserError, match="PYTHONUTF8=1"):
        atomic.write(tmp_path / "file", "a name from a C locale: \udce9")
    assert not list(tmp_path.iterdir())


KILLED = """
import os, signal, sys
from pathlib import Path
from core import atomic

def die(path):
    path.write_bytes(b"half")
    print("writing", flush=True)
    signal.pause()

atomic.write(Path(sys.argv[1]), die)
"""


def test_the_temporary_of_a_killed_writer_is_swept_and_that_of_a_living_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "model")], env=environment, stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"writing\n"
    (temporary,) = tmp_path.iterdir()
    assert atomic.TEMPORARY.fullmatch(temporary.name)
    (tmp_path / ".mine.part").write_text("not one of ours")
    atomic.sweep(tmp_path)
    assert temporary.exists()
    writer.send_signal(signal.SIGKILL)
    writer.wait()
    assert temporary.read_bytes() == b"half"
    monkeypatch.setattr(atomic, "_swept", set())  # as in a new process
    atomic.write(tmp_path / "other", b"")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == [".mine.part", "other"]


def test_a_link_is_the_same_file_and_a_copy_where_links_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "cache" / "model", tmp_path / "run" / "model"
    atomic.write(source, b"weights")
    atomic.write(target, b"others")
    for _ in range(2):  # the second time it is the same file already
        atomic.link(source, target)
        assert source.samefile(target)
        assert len(list(target.parent.iterdir())) == 1
    monkeypatch.setattr(os, "link", refuse(errno.EXDEV))
    atomic.link(source, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"weights"
    assert not source.samefile(tmp_path / "copy")
