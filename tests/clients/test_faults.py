"""What of an exception on a device goes into its reply."""

from pathlib import Path

import pytest
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, RecordDict
from hypothesis import given
from hypothesis import strategies as st

from clients.batch_app import BatchClientApp
from clients.batch_messages import pack_batch, read_error, unpack_batch
from clients.faults import without_paths
from clients.messages import pack_refusal
from sim.backends.inprocess import InProcessGrid


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("[Errno 2] No such file or directory: '/srv/my devices/a b.npy'", "No such file or directory: 'a b.npy'"),
        ("[Errno 18] Invalid link: '/srv/a' -> '/home/u/b'", "[Errno 18] Invalid link: 'a' -> 'b'"),
        (r"cannot open C:\Users\me\x.bin now", "cannot open x.bin now"),
        ("~/devices/, ../up/there: damaged", ", there: damaged"),
        ("no such layer\nin this network", "no such layer\nin this network"),
        ("/", ""),
    ],
)
def test_a_path_becomes_its_last_part(text: str, left: str) -> None:
    assert without_paths(text).endswith(left)


@given(st.text(alphabet="ab '\"/\\\n.", max_size=30))
def test_nothing_that_is_left_separates_folders(text: str) -> None:
    assert not set("/\\") & set(without_paths(text))


def failing(path: Path) -> BatchClientApp:
    app = BatchClientApp()

    @app.train_many()
    def read(messages: list[Message], contexts: list[Context]) -> list[Message]:
        contexts[0].state["half"] = ArrayRecord()
        if "good" in messages[0].content:
            return [Message(RecordDict(), reply_to=message) for message in messages]
        path.read_bytes()
        raise AssertionError("the file is there")

    return app


def test_no_reply_holds_a_path_whether_a_node_is_one_device_or_several(tmp_path: Path) -> None:
    grid = InProcessGrid(failing(tmp_path / "streams" / "items.npy"), 1)
    (node,) = grid.get_node_ids()
    several = pack_batch([RecordDict(), RecordDict({"good": ConfigRecord()})])
    alone, shared = (
        grid.send_and_receive([Message(content, dst_node_id=node, message_type="train")])[0]
        for content in (RecordDict(), several)
    )
    failed, other = unpack_batch(shared.content)
    for reason in (alone.error.reason, read_error(failed)):
        assert reason.startswith("FileNotFoundError: [Errno 2] No such file or directory: 'items.npy' (")
        assert "/" not in reason
    assert not other


def test_a_node_that_failed_keeps_the_state_it_had(tmp_path: Path) -> None:
    """On every engine: Flower keeps the context that comes back with a reply, an error too."""
    app, context = failing(tmp_path / "missing"), Context(1, 7, {}, RecordDict({"whole": ArrayRecord()}), {})
    grid = InProcessGrid(app, 1)
    message = Message(RecordDict(), dst_node_id=grid.get_node_ids()[0], message_type="train")
    assert app(message, context).has_error()
    assert list(context.state) == ["whole"]


def test_a_refusal_holds_no_path() -> None:
    assert pack_refusal("'/srv/a/items.npy' is damaged")["refused"]["reason"] == "'items.npy' is damaged"
