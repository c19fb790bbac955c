"""One field of a record: its type, both ends of its range, and what a message says that is out of it."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord, RecordDict

from clients.fields import BadMessage, Field, check, shown
from clients.messages import (
    DeviceFault,
    RequestRules,
    check_answers,
    content_of,
    pack_decline,
    pack_probe,
    pack_refusal,
    pack_request,
    read_request,
)
from clients.session_config import SessionConfig

COUNT = Field("count", int, "between one and three", 1, 3)
SHARE = Field("share", float, "at least a half", 0.5, math.inf)
WORD = Field("word", str, "two or three letters", 2, 3)
FLAG = Field("flag", bool, "a truth value")


@pytest.mark.parametrize(
    ("field", "value"),
    [(COUNT, 1), (COUNT, 3), (SHARE, 0.5), (SHARE, 1e300), (WORD, "ab"), (WORD, "abc"), (FLAG, True), (FLAG, False)],
)
def test_both_ends_of_a_range_are_in_it(field: Field, value: object) -> None:
    field.check(value)


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        (COUNT, 0, "count is 0, expected 1 to 3"),
        (COUNT, 4, "count is 4, expected 1 to 3"),
        (COUNT, True, "count is of type bool, expected int"),
        (COUNT, 2.0, "count is of type float, expected int"),
        (COUNT, 2**64, "count is an integer of 65 bits, expected 1 to 3"),
        (COUNT.within(2, 2), 3, "count is 3, expected 2"),
        (SHARE, 0.25, "share is 0.25, expected at least 0.5"),
        (SHARE, math.nan, "share is nan, expected at least 0.5"),
        (SHARE, 1, "share is of type int, expected float"),
        (WORD, "a", "word is 'a', expected 2 to 3 characters"),
        (WORD, "abcd", "word is 'abcd', expected 2 to 3 characters"),
        (WORD, "a\0b", r"word is 'a\x00b', expected 2 to 3 characters"),
        (FLAG, 1, "flag is of type int, expected bool"),
    ],
)
def test_what_is_out_of_a_range_is_named(field: Field, value: object, line: str) -> None:
    with pytest.raises(BadMessage) as caught:
        field.check(value)
    assert str(caught.value) == line


def test_a_record_holds_exactly_its_fields() -> None:
    fields = (COUNT, Field("more", int, "anything", high=9))
    assert check("numbers", MetricRecord({"more": 0, "count": 2}), fields) == {"count": 2, "more": 0}
    for record, line in (
        (ArrayRecord({"count": Array(np.zeros(1))}), "'numbers' holds arrays, expected numbers"),
        (ConfigRecord({}), "'numbers' lacks count, more"),
        (
            ConfigRecord({"count": 2, "more": 1, "b": 0, "a": 0}),
            "'numbers' holds 'a', which the protocol does not name",
        ),
        (ConfigRecord({"count": 2, "more": 10}), "more is 10, expected 0 to 9"),
    ):
        with pytest.raises(BadMessage) as caught:
            check("numbers", record, fields)
        assert str(caught.value) == line


def test_values_are_shown_in_eighty_characters() -> None:
    assert shown("x" * 78) == repr("x" * 78)  # 80 with its quotes
    assert shown("x" * 79) == "'" + "x" * 76 + "..."
    assert (shown(2**64 - 1), shown(2**64)) == (str(2**64 - 1), "an integer of 65 bits")
    assert shown(True) == "True"
    assert shown(np.zeros((2, 2))) == "array([[0., 0.], [0., 0.]])"


def test_an_answer_belongs_to_the_message_that_was_sent() -> None:
    def reply(to: str, kind: str) -> Message:
        return SimpleNamespace(metadata=SimpleNamespace(reply_to_message_id=to, message_type=kind))  # type: ignore[return-value]

    sent = SimpleNamespace(message_id="1", message_type="train")
    check_answers(reply("1", "train"), sent)  # type: ignore[arg-type]
    with pytest.raises(BadMessage, match=r"^the reply belongs to another message$"):
        check_answers(reply("2", "train"), sent)  # type: ignore[arg-type]
    with pytest.raises(BadMessage, match=r"^the reply is of message type 'query', expected 'train'$"):
        check_answers(reply("1", "query"), sent)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "allowed"),
    [
        (pack_request(np.ones(2, dtype=bool), np.zeros(64), 7), (7, 9)),
        (pack_probe(np.ones(2, dtype=bool), np.zeros(64), 5), (5, 3)),
        (pack_decline(5), (5, 3)),
    ],
)
def test_computing_is_one_of_the_numbers_that_the_cloud_expects(content: dict, allowed: tuple[int, int]) -> None:
    message = Message(RecordDict(content), dst_node_id=1, message_type="train")
    own, others = set(allowed), {1000}
    asked = "request" in content and "probe" not in content["measured"]
    right = {"macs": own if asked else others, "macs_unasked": others if asked else own}
    assert read_request(message, RequestRules(2, probes=True, **right)).macs == allowed[0]
    wrong = {"macs": right["macs_unasked"], "macs_unasked": right["macs"]}
    with pytest.raises(BadMessage, match=f"^macs is {allowed[0]}, expected 1000$"):
        read_request(message, RequestRules(2, probes=True, **wrong))
    with pytest.raises(BadMessage, match=f"^macs is {allowed[0]}, expected 3 or 4$"):
        read_request(message, RequestRules(2, probes=True, macs={4, 3}, macs_unasked={4, 3}))


def test_rules_of_a_request() -> None:
    def message(content: dict) -> Message:
        return Message(RecordDict(content), dst_node_id=1, message_type="train")

    partly = message(pack_request(np.array([True, False]), np.full(64, -2.0), 0))
    assert read_request(partly, RequestRules(2, latent=2.0)).path.tolist() == [True, False]
    with pytest.raises(BadMessage, match=r"^latent holds 2, expected at most 1\.5$"):
        read_request(partly, RequestRules(2, latent=1.5))
    with pytest.raises(BadMessage, match="path leaves out blocks; the model knows networks of all 2 alone"):
        read_request(partly, RequestRules(2, everything=True))
    probe = message(pack_probe(np.ones(2, dtype=bool), np.zeros(64), 0))
    assert read_request(probe, RequestRules(2, everything=True, probes=True)).probe
    with pytest.raises(BadMessage, match=r"^probe in a run that compares nothing$"):
        read_request(probe, RequestRules(2, probes=False))


def test_a_reason_is_cut_and_a_missing_record_is_named() -> None:
    def message(content: dict) -> Message:
        return Message(RecordDict(content), dst_node_id=1, message_type="train")

    with pytest.raises(DeviceFault) as caught:
        content_of(message(pack_refusal("x" * 600)))
    assert str(caught.value) == "refused the message: " + "x" * 500
    with pytest.raises(BadMessage, match=r"^the record 'session' is missing$"):
        SessionConfig.of(message({}))
