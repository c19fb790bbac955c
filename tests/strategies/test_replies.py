"""What a device says is checked against what cloud and simulation know: by hand, through the strategy's calls."""

from typing import Any

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MetricRecord, RecordDict

from benchmarks.fuzz_messages import Wave
from benchmarks.small_world import BLOCKS, DEVICES, Bench, copied
from clients.messages import RAISED
from strategies.base import SessionStrategy
from strategies.wave import DeviceSession, SessionResult, WaveRules

NOTHING: Any = (1, ArrayRecord(), ConfigRecord(), None)
"""Arguments of the strategy's ``configure`` methods that it does not look at."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def answered(strategy: SessionStrategy, wave: Wave, victim: DeviceSession, **altered: Any) -> list[SessionResult]:
    """The first session of all devices in the four calls; ``altered`` gives the victim's replies by message type."""

    def replies(messages: list[Message]) -> list[Message]:
        out = []
        for message in messages:
            kind, node = message.metadata.message_type, message.metadata.dst_node_id
            content = copied(wave.known[kind, node])
            if node == victim.node and kind.partition(".")[0] in altered:
                content = altered[kind.partition(".")[0]](content)
            out.append(Message(content, reply_to=message))
        return out

    strategy.begin(wave.devices, WaveRules())
    strategy.aggregate_train(1, replies(list(strategy.configure_train(*NOTHING))))
    strategy.aggregate_evaluate(1, replies(list(strategy.configure_evaluate(*NOTHING))))
    return strategy.end()


def check_costs_its_sender_only(wave: Wave, victim: DeviceSession, results: list[SessionResult], why: str) -> None:
    for result, honest in zip(results, wave.honest, strict=True):
        if result.device_session == victim:
            assert result.status == "rejected"
            assert why in result.problem
            assert "\n" not in result.problem
            assert result.measured is None
        else:
            assert result == honest


def report(**values: Any) -> Any:
    """The honest report with these values instead, which may depend on the honest ones."""

    def change(content: RecordDict) -> RecordDict:
        record = content.metric_records["measured"]
        for key, value in values.items():
            record[key] = value(record) if callable(value) else value
        return content

    return change


LIES = [
    (report(hits=1000), "hits is 1000, the session has 3 events"),
    (report(hits=2**31), "hits is 2147483648, expected 0 to"),
    (report(hits=0.9), "hits is of type float, expected int"),
    (report(hits=2**63 - 1), "hits is 9223372036854775807"),
    (report(hits=2**64), "hits is an integer of 65 bits"),
    (report(hits=1e300), "hits is of type float"),
    (report(hits=3, ndcg=0.8), "ndcg is 0.8, which 3 hits cannot give"),  # the least is 3 / log2(11) = 0.867
    (report(hits=2, ndcg=2.1), "ndcg is 2.1, which 2 hits cannot give"),
    (report(ndcg=1e12), "ndcg is 1000000000000.0, which"),
    (report(ndcg=float("nan")), "ndcg is nan"),
    (report(ndcg=float("inf")), "ndcg is inf"),
    (report(hits_1=lambda honest: honest["hits_5"] + 1), "hits_5 is"),
    (report(hits_5=lambda honest: honest["hits"] + 1), "less than hits_5"),
    (report(hits_20=lambda honest: honest["hits"] - 1), "hits_20 is"),
    (
        report(hits_20=4, ndcg_20=lambda honest: honest["ndcg"] + 0.25 * (4 - honest["hits"])),
        "the session has 3 events",
    ),
    (report(ndcg_5=lambda honest: honest["ndcg_5"] + 2.5), "ndcg_5 is"),
    (report(ndcg_20=lambda honest: honest["ndcg_20"] + 1.0), "ndcg_20 is"),
    (report(mrr=lambda honest: honest["mrr"] + 3.0), "mrr is"),
    (report(mrr=0.0), "mrr is 0.0, which these hits cannot give"),
    (report(mrr=float("nan")), "mrr is nan"),
    (report(hits_sampled=3, ndcg_sampled=3.0), "'measured' holds 'hits_sampled'"),
    (report(events=4), "events is 4, the session has 3"),
    (report(served=7), "served is 7, expected 0 to 1"),
    (report(served=0), "though the device was not served"),
    (report(macs=0), "macs is 0, which path"),
    (report(macs=lambda honest: honest["macs"] + 1), "macs is"),
    (report(macs_paper=1), "macs_paper is 1, which path"),
    (report(macs_adapt=5), "macs_adapt is 5"),
    (report(macs_decide=5), "macs_decide is 5"),
    (report(param_bits=1e19), "param_bits is of type float"),
    (report(param_bits=32), "param_bits is 32, which path"),
    (report(path=lambda honest: honest["path"] ^ 1), "which the device cannot have run"),
    (report(path=2**40 - 1), "which the device cannot have run"),
    (report(hits_stale=0, ndcg_stale=0.0, hits_fresh=0, ndcg_fresh=0.0), "'measured' holds 'hits_fresh'"),
    (report(last_item=17), "'measured' holds 'last_item'"),
    (lambda content: RecordDict(), "holds the records []"),
    (lambda content: RecordDict({"measured": ConfigRecord({"hits": True})}), "'measured' lacks events"),
]


@pytest.mark.parametrize("method", ["devicerec", "forward-ofa", "duet", "finetune"])
def test_a_report_that_cannot_be_true_is_rejected_by_the_name_of_the_field(bench: Bench, method: str) -> None:
    wave = Wave(bench, method, "", 0)
    for number, (lie, why) in enumerate(LIES):
        if method == "finetune" and "macs_adapt" in why:
            continue  # the number of its training is checked below
        victim = wave.devices[number % DEVICES]
        results = answered(wave.strategy, wave, victim, evaluate=lie)
        check_costs_its_sender_only(wave, victim, results, why)


def test_training_on_the_device_takes_what_its_history_says_or_nothing(bench: Bench) -> None:
    wave = Wave(bench, "finetune", "", 0)
    victim = wave.devices[1]
    (planned,) = {result.measured["macs_adapt"] for result in wave.honest if result.measured}
    # 8 windows of 5 items hold 40 of the 41 earlier ones: 3 steps, 3 forward passes each, 3 blocks and the scoring
    block = 5 * 5 * 64 * 64 + 2 * 25 * 64
    assert victim.past == 41 - 1
    assert planned == 9 * (8 * 3 * block + 39 * 30 * 64)
    for value, status in ((planned, "ok"), (0, "ok"), (planned - 1, "rejected"), (planned + 1, "rejected")):
        results = answered(wave.strategy, wave, victim, evaluate=report(macs_adapt=value))
        assert results[1].status == status


def request(**arrays: np.ndarray) -> Any:
    """The honest request with these arrays instead."""

    def change(content: RecordDict) -> RecordDict:
        for key, value in arrays.items():
            content.array_records["request"][key] = Array(value)
        return content

    return change


REQUESTS = [
    (request(path=np.array([1 << BLOCKS], np.uint8)), f"beyond the {BLOCKS}"),
    (request(path=np.array([1, 0], np.uint8)), "path is 'uint8' (2,)"),
    (request(latent=np.full(64, 3e38, np.float32)), "latent holds 3e+38"),
    (request(latent=np.full(64, np.inf, np.float32)), "not finite"),
    (request(history=np.arange(5)), "exactly the arrays path and latent"),
    (report(macs=10**9), "macs is 1000000000, expected"),
    (report(macs=2**64), "macs is an integer of 65 bits"),
    (report(probe=1), "probe in a run that compares nothing"),
    (lambda content: RecordDict({"request": content["request"]}), "holds the records ['request']"),
    (lambda content: RecordDict({"measured": MetricRecord({"macs": 7})}), "macs is 7, expected 0"),
]


@pytest.mark.parametrize("method", ["forward-ofa", "duet"])
def test_a_request_that_cannot_be_true_is_rejected_and_gets_no_network(bench: Bench, method: str) -> None:
    wave = Wave(bench, method, "", 0)
    lies = [*REQUESTS]
    if method == "duet":  # without a controller a device knows one path
        lies.append((request(path=np.array([1], np.uint8)), "path leaves out blocks"))
    for number, (lie, why) in enumerate(lies):
        victim = wave.devices[number % DEVICES]
        results = answered(wave.strategy, wave, victim, train=lie)
        check_costs_its_sender_only(wave, victim, results, why)
        (mine,) = [result for result in results if result.device_session == victim]
        assert (mine.requested, mine.bits_down, mine.sent) == (False, 0, None)


def test_who_says_that_it_was_not_served_says_that_nothing_ran(bench: Bench) -> None:
    wave = Wave(bench, "forward-ofa", "", 0)
    victim = wave.devices[2]
    nothing = {"served": 0, "path": 0, "macs": 0, "macs_paper": 0, "param_bits": 0}
    results = answered(wave.strategy, wave, victim, evaluate=report(**nothing))
    assert results[2].status == "ok"
    for name in ("path", "macs", "macs_paper", "param_bits"):
        results = answered(wave.strategy, wave, victim, evaluate=report(**{**nothing, name: 1}))
        check_costs_its_sender_only(wave, victim, results, f"{name} is 1, though")


def test_a_network_that_was_not_asked_for_is_not_played(bench: Bench) -> None:
    """A device that asks for nothing and remembers nothing has nothing to run."""
    wave = Wave(bench, "forward-ofa", "", 0)
    victim = wave.devices[0]
    declined = {"train": lambda content: RecordDict({"measured": MetricRecord({"macs": 0})})}
    results = answered(wave.strategy, wave, victim, **declined)
    check_costs_its_sender_only(wave, victim, results, "which the device cannot have run")


def test_a_remembered_path_is_believed_and_no_other(bench: Bench) -> None:
    """Under `every:2` the second of three sessions is played with the network of the first."""
    wave = Wave(bench, "forward-ofa", "every:2", 1)
    stale = [result for result in wave.honest if result.measured and not result.requested]
    assert stale
    one = stale[0]
    assert one.status == "ok"
    assert one.measured is not None
    assert wave.remembered[one.device_session.node] == {one.measured["path"]}
    for path, status in ((one.measured["path"], "ok"), (one.measured["path"] ^ 2, "rejected")):
        wave.strategy.remembered = {one.device_session.node: frozenset({path})}  # type: ignore[attr-defined]
        wave.strategy.begin(wave.devices, WaveRules(remembers=True))
        messages = list(wave.strategy.configure_evaluate(2, *NOTHING[1:]))
        replies = [
            Message(copied(wave.known["evaluate", m.metadata.dst_node_id]), reply_to=m)
            for m in messages
            if m.metadata.dst_node_id == one.device_session.node
        ]
        wave.strategy.aggregate_evaluate(2, replies)
        (mine,) = [r for r in wave.strategy.end() if r.device_session == one.device_session]
        assert mine.status == status


@pytest.mark.parametrize("method", ["devicerec", "forward-ofa"])
def test_replies_that_are_none_to_what_was_asked(bench: Bench, method: str) -> None:
    wave = Wave(bench, method, "", 0)
    strategy = wave.strategy
    strategy.begin(wave.devices)
    if method == "forward-ofa":
        asked = list(strategy.configure_train(*NOTHING))
        strategy.aggregate_train(
            1, [Message(copied(wave.known["train", m.metadata.dst_node_id]), reply_to=m) for m in asked]
        )
    messages = list(strategy.configure_evaluate(*NOTHING))
    for number, message in enumerate(messages):
        message.metadata.__dict__["_message_id"] = str(number)
    good = [Message(copied(wave.known["evaluate", m.metadata.dst_node_id]), reply_to=m) for m in messages]
    twice, other, another_type, empty, failed = good
    other.metadata.__dict__["_reply_to_message_id"] = "0"
    another_type.metadata.__dict__["_message_type"] = "train"
    empty.__dict__["_content"] = None
    error = Message(Error(RAISED, "Traceback\nRuntimeError: no"), reply_to=messages[4])
    stranger = Message(copied(failed.content), reply_to=messages[4])
    stranger.metadata.__dict__["_src_node_id"] = 17
    strategy.aggregate_evaluate(1, [another_type, stranger, twice, other, twice, empty, error])
    results = strategy.end()
    assert [result.status for result in results] == ["rejected"] * 4 + ["failed"]
    assert [result.problem for result in results] == [
        "2 replies to one message",
        "the reply belongs to another message",
        "the reply is of message type 'train', expected 'evaluate'",
        "the reply has no content",
        "RuntimeError: no",
    ]


def test_no_reply_is_lost_and_a_device_without_a_valid_request_is_not_asked_to_play(bench: Bench) -> None:
    wave = Wave(bench, "forward-ofa", "", 0)
    strategy = wave.strategy
    strategy.begin(wave.devices)
    asked = list(strategy.configure_train(*NOTHING))
    replies = [Message(copied(wave.known["train", m.metadata.dst_node_id]), reply_to=m) for m in asked[1:]]
    replies[0] = Message(Error(RAISED, ""), reply_to=asked[1])
    strategy.aggregate_train(1, replies)
    messages = list(strategy.configure_evaluate(*NOTHING))
    assert [m.metadata.dst_node_id for m in messages] == [one.node for one in wave.devices[2:]]
    strategy.aggregate_evaluate(1, [])
    assert [r.status for r in strategy.end()] == ["lost", "failed", "lost", "lost", "lost"]
