"""The in-process grid delivers as Flower's own grids do: each message once, each device its own state."""

import time
from unittest.mock import Mock

import pytest
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.server.superlink.linkstate.utils import create_message_error_unavailable_res_message

from clients.batch_app import BatchClientApp
from clients.messages import DeviceLost, content_of
from core.errors import UserError
from sim.backends.inprocess import InProcessGrid
from sim.backends.messaging import exchange, register

CLIENT_APP_RAISED_EXCEPTION = 2  # Flower's error code, see flwr.common.constant.ErrorCode


def make_app(calls: list[int] | None = None) -> BatchClientApp:
    """An app that keeps a running sum per device; the amount -1 makes the device fail after it counted it."""
    app = BatchClientApp()

    @app.query_many("register")
    def register_device(messages: list[Message], contexts: list[Context]) -> list[Message]:
        records = [MetricRecord({"partition": int(context.node_config["partition-id"])}) for context in contexts]
        return [
            Message(RecordDict({"device": record}), reply_to=message)
            for record, message in zip(records, messages, strict=True)
        ]

    @app.train_many()
    def add(messages: list[Message], contexts: list[Context]) -> list[Message]:
        if calls is not None:
            calls.append(len(messages))
        replies = []
        for message, context in zip(messages, contexts, strict=True):
            amount = message.content["order"]["amount"]
            total = context.state.setdefault("account", MetricRecord({"total": 0, "history": []}))
            total["total"] += amount
            total["history"].append(amount)
            if amount < 0:
                raise RuntimeError(f"device {context.node_config['partition-id']} is out of order")
            answer = MetricRecord({"total": total["total"], "partition": context.node_config["partition-id"]})
            answer["count"] = len(total["history"])
            replies.append(Message(RecordDict({"answer": answer}), reply_to=message))
        return replies

    return app


def order(node: int, amount: int, kind: str = "train") -> Message:
    return Message(RecordDict({"order": MetricRecord({"amount": amount})}), node, kind)


def totals(replies: list[Message]) -> list[int]:
    return [reply.content["answer"]["total"] for reply in replies]


def test_replies_in_order_of_messages_and_state_is_kept_per_device() -> None:
    grid = InProcessGrid(make_app(), 5, seed=3)
    nodes = register(grid, 5, timeout=1)
    shuffled = [nodes[d] for d in (3, 0, 4, 1, 2)]

    first = grid.send_and_receive([order(node, 10 + i) for i, node in enumerate(shuffled)])
    second = grid.send_and_receive([order(node, 100) for node in reversed(shuffled)])

    assert [reply.metadata.src_node_id for reply in first] == shuffled
    assert [reply.content["answer"]["partition"] for reply in first] == [3, 0, 4, 1, 2]
    assert totals(first) == [10, 11, 12, 13, 14]
    assert totals(second) == [114, 113, 112, 111, 110]


def test_node_ids_are_derived_from_the_seed_and_hide_the_partition() -> None:
    grid = InProcessGrid(make_app(), 100, seed=3)
    ids = grid.get_node_ids()
    assert len(set(ids)) == 100
    assert min(ids) > 100_000
    assert ids == InProcessGrid(make_app(), 100, seed=3).get_node_ids()
    assert set(ids).isdisjoint(InProcessGrid(make_app(), 100, seed=4).get_node_ids())
    assert register(grid, 100, timeout=1) != ids  # listed in an order that says nothing about the partition


def test_batches_hold_at_most_the_given_number_of_different_devices() -> None:
    calls: list[int] = []
    grid = InProcessGrid(make_app(calls), 7, batch=3)
    nodes = grid.get_node_ids()
    grid.send_and_receive([order(node, 1) for node in nodes])
    assert calls == [3, 3, 1]
    calls.clear()
    replies = grid.send_and_receive([order(node, 1) for node in (nodes[0], nodes[1], nodes[0], nodes[2])])
    assert calls == [2, 2]
    assert totals(replies) == [2, 2, 3, 2]


@pytest.mark.parametrize("batch", [1, 4, 64])
def test_one_failing_device_costs_one_message_and_keeps_its_former_state(batch: int) -> None:
    grid = InProcessGrid(make_app(), 9, batch=batch)
    nodes = register(grid, 9, timeout=1)
    grid.send_and_receive([order(node, 5) for node in nodes])

    replies = grid.send_and_receive([order(node, -1 if d == 6 else 1) for d, node in enumerate(nodes)])
    later = grid.send_and_receive([order(node, 1) for node in nodes])

    assert [d for d, reply in enumerate(replies) if reply.has_error()] == [6]
    assert replies[6].error.code == CLIENT_APP_RAISED_EXCEPTION
    assert replies[6].error.reason.startswith("RuntimeError: device 6 is out of order (test_inprocess.py, line ")
    assert replies[6].metadata.src_node_id == nodes[6]
    assert totals([reply for reply in replies if reply.has_content()]) == [6] * 8
    assert totals(later) == [6 if d == 6 else 7 for d in range(9)]
    assert [reply.content["answer"]["count"] for reply in later] == [2 if d == 6 else 3 for d in range(9)]


def test_a_plain_client_app_runs_one_message_at_a_time_with_the_same_result() -> None:
    plain, batched = ClientApp(), make_app()
    plain.query("register")(lambda message, context: batched(message, context))
    plain.train()(lambda message, context: batched(message, context))
    outcomes = []
    for app in (plain, batched):
        grid = InProcessGrid(app, 8, seed=1)
        nodes = register(grid, 8, timeout=1)
        replies = [reply for r in range(3) for reply in grid.send_and_receive([order(n, r + n % 7) for n in nodes])]
        outcomes.append([dict(reply.content["answer"]) for reply in replies])
    assert outcomes[0] == outcomes[1]
    assert len(outcomes[0]) == 24


def test_context_tells_a_device_its_partition_and_the_run_configuration() -> None:
    seen: list[tuple[dict, dict, int]] = []
    app = ClientApp()

    @app.query()
    def look(message: Message, context: Context) -> Message:
        seen.append((dict(context.node_config), dict(context.run_config), context.node_id))
        context.run_config["folder"] = "spoiled"
        return Message(RecordDict(), reply_to=message)

    grid = InProcessGrid(app, 3, run_config={"folder": "streams"})
    nodes = grid.get_node_ids()
    grid.send_and_receive([Message(RecordDict(), node, "query") for node in nodes])
    assert sorted(config["partition-id"] for config, _, _ in seen) == [0, 1, 2]
    assert all(config["num-partitions"] == 3 for config, _, _ in seen)
    assert [run_config for _, run_config, _ in seen] == [{"folder": "streams"}] * 3
    assert [node_id for _, _, node_id in seen] == nodes


def test_pushed_messages_run_when_pulled_and_each_reply_is_handed_out_once() -> None:
    calls: list[int] = []
    grid = InProcessGrid(make_app(calls), 4)
    nodes = grid.get_node_ids()
    ids = grid.push_messages([order(node, i) for i, node in enumerate(nodes)])
    assert calls == []
    replies = grid.pull_messages([ids[2], ids[0]])
    assert totals(replies) == [2, 0]
    assert [reply.metadata.reply_to_message_id for reply in replies] == [ids[2], ids[0]]
    assert totals(grid.pull_messages(ids)) == [1, 3]
    assert grid.pull_messages(ids) == []


def test_a_message_to_nobody_is_refused_before_anything_runs() -> None:
    calls: list[int] = []
    grid = InProcessGrid(make_app(calls), 2)
    node = grid.get_node_ids()[0]
    with pytest.raises(ValueError, match="no node 17"):
        grid.send_and_receive([order(node, 1), order(17, 1)])
    assert calls == []
    assert totals(grid.send_and_receive([order(node, 1)])) == [1]


def test_an_unregistered_message_type_is_that_message_s_error() -> None:
    grid = InProcessGrid(make_app(), 2)
    nodes = grid.get_node_ids()
    replies = grid.send_and_receive([order(nodes[0], 1, "evaluate"), order(nodes[1], 2)])
    assert "No evaluate function" in replies[0].error.reason
    assert totals(replies[1:]) == [2]


def test_a_handler_that_loses_a_reply_is_an_error() -> None:
    app = BatchClientApp()
    app.train_many()(lambda messages, contexts: [])
    grid = InProcessGrid(app, 2)
    for reply in grid.send_and_receive([order(node, 1) for node in grid.get_node_ids()]):
        assert "answered 1 messages with 0 replies" in reply.error.reason
    node, other = grid.get_node_ids()
    with pytest.raises(ValueError, match="answered 2 messages with 0 replies"):
        app.call_many([order(node, 1), order(other, 1)], [Mock(), Mock()])


def test_replies_to_the_wrong_message_are_not_believed() -> None:
    app = BatchClientApp()
    app.train_many()(lambda messages, contexts: [Message(RecordDict(), reply_to=m) for m in reversed(messages)])
    grid = InProcessGrid(app, 2)
    nodes = grid.get_node_ids()
    replies = grid.send_and_receive([order(node, 1) for node in nodes])
    assert [reply.metadata.src_node_id for reply in replies] == nodes


def test_interrupt_passes_through_and_the_grid_stays_usable() -> None:
    app, armed = BatchClientApp(), [True]

    @app.train_many()
    def interrupt_once(messages: list[Message], contexts: list[Context]) -> list[Message]:
        if armed:
            armed.clear()
            raise KeyboardInterrupt
        return [Message(RecordDict(), reply_to=message) for message in messages]

    grid = InProcessGrid(app, 4, batch=2)
    messages = [order(node, 1) for node in grid.get_node_ids()]
    with pytest.raises(KeyboardInterrupt):
        grid.send_and_receive(messages)
    assert len(grid.send_and_receive(messages)) == 4


def test_create_message_and_run() -> None:
    grid = InProcessGrid(make_app(), 1)
    (node,) = grid.get_node_ids()
    message = grid.create_message(RecordDict({"c": ConfigRecord({"k": "v"})}), "train", node, "7", ttl=9.0)
    metadata = message.metadata
    assert (metadata.run_id, metadata.dst_node_id, metadata.group_id) == (grid.run.run_id, node, "7")
    assert metadata.ttl == 9.0
    assert grid.run == grid.run
    assert grid.run is not grid.run


def test_batch_app_survives_pickling() -> None:
    from ray import cloudpickle

    app = cloudpickle.loads(cloudpickle.dumps(make_app()))
    grid = InProcessGrid(app, 3)
    assert totals(grid.send_and_receive([order(node, 4) for node in grid.get_node_ids()])) == [4, 4, 4]


def test_call_many_wants_one_type() -> None:
    grid = InProcessGrid(make_app(), 2)
    node, other = grid.get_node_ids()
    with pytest.raises(ValueError, match="one message type, got evaluate, train"):
        make_app().call_many([order(node, 1), order(other, 1, "evaluate")], [])
    assert make_app().call_many([], []) == []


class LossyGrid(InProcessGrid):
    """Loses the replies of some nodes and returns the others in reverse order."""

    lost: frozenset[int] = frozenset()

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        self.chunks: list[int] = []

    def send_and_receive(self, messages, *, timeout=None):
        replies = super().send_and_receive(messages)
        self.chunks.append(len(replies))
        return [reply for reply in reversed(replies) if reply.metadata.src_node_id not in self.lost]


def test_exchange_keeps_the_order_and_names_what_was_lost() -> None:
    grid = LossyGrid(make_app(), 10)
    nodes = register(grid, 10, timeout=1)
    grid.lost, grid.chunks = frozenset({nodes[1], nodes[8]}), []

    outcome = exchange(grid, (order(node, d) for d, node in enumerate(nodes)), timeout=1, chunk=4)

    assert grid.chunks == [4, 4, 2]
    assert list(outcome) == nodes
    assert [d for d, node in enumerate(nodes) if not outcome[node]] == [1, 8]
    assert totals([reply for answers in outcome.values() for reply in answers]) == [0, 2, 3, 4, 5, 6, 7, 9]
    with pytest.raises(ValueError, match="two messages"):
        exchange(grid, [order(nodes[0], 1), order(nodes[0], 1)], timeout=1)


class PatchyGrid(InProcessGrid):
    """Some nodes are unavailable: in their place the network answers, as Flower's SuperLink does."""

    away: frozenset[int] = frozenset()

    def send_and_receive(self, messages, *, timeout=None):
        sent = list(messages)
        replies = super().send_and_receive(sent)
        return [
            create_message_error_unavailable_res_message(
                message.metadata, "node_unavail" if len(self.away) == 1 else "msg_unavail"
            )
            if message.metadata.dst_node_id in self.away
            else reply
            for message, reply in zip(sent, replies, strict=True)
        ]


def test_a_node_that_the_network_reports_unavailable_is_lost() -> None:
    grid = PatchyGrid(make_app(), 4)
    nodes = register(grid, 4, timeout=1)
    for away in ([2], [0, 3]):
        grid.away = frozenset(nodes[d] for d in away)
        why = "Node Unavailable" if len(away) == 1 else "Reply Message Unavailable"
        outcome = exchange(grid, [order(node, -1 if node == nodes[1] else 1) for node in nodes], timeout=1)
        assert all(reply.metadata.src_node_id == node for node, answers in outcome.items() for reply in answers)
        for d, node in enumerate(nodes):
            (reply,) = outcome[node]
            if d in away:
                with pytest.raises(DeviceLost, match=why):
                    content_of(reply)
            else:
                assert reply.has_error() == (d == 1)  # the device's own error is its answer
    with pytest.raises(UserError, match=f"node ({nodes[0]}|{nodes[3]}) did not register: .*{why}"):
        register(grid, 4, timeout=1)


def test_register_sorts_by_partition_and_says_what_is_missing() -> None:
    grid = LossyGrid(make_app(), 12)
    nodes = register(grid, 12, timeout=1)
    replies = grid.send_and_receive([order(node, 1) for node in nodes])[::-1]
    assert [reply.content["answer"]["partition"] for reply in replies] == list(range(12))

    start = time.monotonic()
    with pytest.raises(UserError, match="12 of 13 nodes"):
        register(grid, 13, 13, timeout=0.2)
    assert time.monotonic() - start < 2
    grid.lost = frozenset({nodes[3]})
    with pytest.raises(UserError, match=f"node {nodes[3]} did not register: no answer"):
        register(grid, 12, timeout=1)

    mute = InProcessGrid(ClientApp(), 1)
    with pytest.raises(UserError, match="No query function registered"):
        register(mute, 1, timeout=1)
