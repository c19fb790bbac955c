"""The same two apps on every backend: same answers, and errors that reach the caller."""

import logging
import os
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.serverapp import Grid, ServerApp

from clients.batch_app import BatchClientApp
from core.errors import UserError
from sim.backends import deployment
from sim.backends.launch import load_client_app, load_server_app, run_apps
from sim.backends.messaging import exchange, register

client_app = BatchClientApp()
server_app = ServerApp()


@client_app.query_many("register")
def register_device(messages: list[Message], contexts: list[Context]) -> list[Message]:
    return [
        Message(RecordDict({"device": MetricRecord({"partition": c.node_config["partition-id"]})}), reply_to=m)
        for m, c in zip(messages, contexts, strict=True)
    ]


@client_app.train_many()
def count(messages: list[Message], contexts: list[Context]) -> list[Message]:
    """Answer with 100 x device + number of messages so far; the device named in the configuration fails."""
    replies = []
    for message, context in zip(messages, contexts, strict=True):
        device = int(context.node_config["partition-id"])
        if device == context.run_config["broken-device"]:
            raise RuntimeError(f"device {device} is broken")
        seen = context.state.setdefault("seen", MetricRecord({"messages": 0}))
        seen["messages"] += 1
        answer = MetricRecord({"value": 100 * device + seen["messages"]})
        process = ConfigRecord({"id": os.getpid(), "threads": os.environ.get("OMP_NUM_THREADS", "")})
        replies.append(Message(RecordDict({"answer": answer, "process": process}), reply_to=message))
    return replies


@server_app.main()
def main(grid: Grid, context: Context) -> None:
    """Two rounds; what the devices answered goes to the file the configuration names, one line per round."""
    config = context.run_config
    if config["mistake"]:
        raise UserError(str(config["mistake"]))
    nodes = register(grid, int(config["devices"]), timeout=300)
    lines = []
    for _ in range(2):
        outcome = exchange(grid, [Message(RecordDict(), node, "train") for node in nodes], timeout=300)
        replies = [answers[0] if answers else None for answers in outcome.values()]
        processes = {reply.content["process"]["id"] for reply in replies if reply and reply.has_content()}
        answers = [
            "lost" if r is None else f"error {r.error.code}" if r.has_error() else r.content["answer"]["value"]
            for r in replies
        ]
        lines.append(" ".join(str(answer) for answer in answers))
    threads = {reply.content["process"]["threads"] for reply in replies if reply and reply.has_content()}
    lines.append(f"{'here' if os.getpid() in processes else 'elsewhere'} {' '.join(sorted(threads))}".strip())
    Path(str(config["output"])).write_text("\n".join(lines))


def play(backend: str, folder: Path, devices: int = 4, broken: int = -1, mistake: str = "") -> list[str]:
    output = folder / "answers.txt"
    settings = {"devices": devices, "broken-device": broken, "output": str(output), "mistake": mistake}
    run_apps(
        backend,
        f"{__name__}:server_app",
        f"{__name__}:client_app",
        num_devices=devices,
        run_config=settings,
        seed=0,
        log_file=folder / "flower.log",
    )
    return output.read_text().splitlines()


ANSWERS = ["1 101 error 2 301", "2 102 error 2 302"]


def test_inprocess_plays_both_rounds_and_logs_to_the_file(tmp_path: Path, capfd, monkeypatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # in this process the run sets nothing
    assert play("inprocess", tmp_path, broken=2) == [*ANSWERS, "here"]
    assert "device 2 is broken" in (tmp_path / "flower.log").read_text()
    assert capfd.readouterr() == ("", "")


@pytest.mark.slow
def test_ray_answers_as_inprocess_from_other_processes_with_one_thread(tmp_path: Path, capfd) -> None:
    handlers = logging.getLogger("flwr").handlers[:]
    assert play("ray", tmp_path, broken=2) == [*ANSWERS, "elsewhere 1"]
    assert "device 2 is broken" in (tmp_path / "flower.log").read_text()
    assert capfd.readouterr().out == ""
    assert logging.getLogger("flwr").handlers == handlers
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.slow
def test_deployment_answers_as_inprocess(tmp_path: Path, capfd) -> None:
    assert play("deployment", tmp_path, devices=2, broken=1) == ["1 error 2", "2 error 2", "elsewhere 1"]
    assert "device 1 is broken" in (tmp_path / "flower.log").read_text()
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    "backend",
    [
        "inprocess",
        pytest.param("ray", marks=pytest.mark.slow),
        pytest.param("deployment", marks=pytest.mark.slow),
    ],
)
def test_a_user_error_in_the_server_app_reaches_the_caller(backend: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^the 'path' is wrong: ü$"):
        play(backend, tmp_path, devices=1, mistake="the 'path' is wrong: ü")


def test_other_errors_reach_the_caller_too(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="mistake"):
        run_apps("inprocess", server_app, client_app, num_devices=1, run_config={}, seed=0, log_file=tmp_path / "log")


def test_unusable_requests_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown backend 'cloud'.*inprocess, ray, deployment"):
        play("cloud", tmp_path)
    with pytest.raises(UserError, match="at most 32, not 33"):
        play("deployment", tmp_path, devices=33)
    with pytest.raises(TypeError, match=r"run_config\['list'\]"):
        run_apps(
            "inprocess",
            server_app,
            client_app,
            num_devices=1,
            run_config={"list": [1]},  # type: ignore[dict-item]
            seed=0,
            log_file=tmp_path / "log",
        )
    with pytest.raises(TypeError, match="not a ClientApp"):
        load_client_app(f"{__name__}:server_app")
    assert not list(tmp_path.iterdir())
    assert load_server_app(f"{__name__}:server_app") is load_server_app(server_app)


def test_the_generated_app_carries_the_configuration_unchanged(tmp_path: Path) -> None:
    settings = {"text": 'a "quoted"\n\\ line ü', "on": True, "count": -3, "small": 1e-9, "with space": "x"}
    deployment._write_app(tmp_path / "app", "clients.app:app", settings)
    table = tomllib.loads((tmp_path / "app" / "pyproject.toml").read_text("utf-8"))["tool"]["flwr"]["app"]
    assert table["config"] == settings
    assert table["components"] == {"serverapp": "sim.backends.deployment:app", "clientapp": "clients.app:app"}


INTERRUPTED = """
import sys
sys.path[:0] = {path!r}
import {module} as apps
from flwr.app import Message, RecordDict
from sim.backends.messaging import exchange, register

server_app = apps.ServerApp()

@server_app.main()
def main(grid, context):
    nodes = register(grid, 2, 60)
    print("ready", flush=True)
    while True:
        exchange(grid, [Message(RecordDict(), node, "train") for node in nodes], 60)

try:
    apps.run_apps("ray", server_app, apps.client_app, num_devices=2, run_config={{"broken-device": -1}},
    seed=0,
                  log_file=apps.Path({log!r}))
except KeyboardInterrupt:
    sys.exit(130)
"""


@pytest.mark.slow
def test_an_interrupt_under_ray_ends_the_run(tmp_path: Path) -> None:
    script = INTERRUPTED.format(path=sys.path, module=__name__, log=str(tmp_path / "log"))
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        stdout=subprocess.PIPE,
        # A shell may have started the tests in the background, with interrupts ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    finally:
        process.kill()
