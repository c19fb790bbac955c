"""The same two apps on every backend: same answers, and errors that reach the caller."""

import logging
import os
import signal
import threading
import tomllib
import uuid
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest.mock import Mock

import psutil
import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from hypothesis import given
from hypothesis import strategies as st
from ray.exceptions import RayError

from core import interrupts
from core.errors import UserError
from sim.backends import deployment, ray
from sim.backends.inprocess import InProcessGrid
from sim.backends.launch import load_client_app, load_server_app, run_apps
from sim.backends.processes import ProcessGroup
from tests.support import backend_apps
from tests.support.backend_apps import TEST, client_app, of_this_test, server_app
from tests.support.machines import wait_until

APPS = backend_apps.__name__


def play(backend: str, folder: Path, devices: int = 4, broken: int = -1, end: str = "") -> list[str]:
    output = folder / "answers.txt"
    settings = {"devices": devices, "broken-device": broken, "output": str(output), "end": end, "caller": os.getpid()}
    run_apps(
        backend,
        f"{APPS}:server_app",
        f"{APPS}:client_app",
        num_nodes=devices,
        run_config=settings,
        seed=0,
        log_file=folder / "flower.log",
    )
    return output.read_text().splitlines()


ANSWERS = ["1 101 error 2 301", "2 102 error 2 302"]


@pytest.fixture
def descendants(monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[psutil.Process]]:
    """Lists the living processes that this test has started, and those that they have."""
    monkeypatch.setenv(TEST, uuid.uuid4().hex)
    return of_this_test


def test_inprocess_plays_both_rounds_and_logs_to_the_file(tmp_path: Path, capfd, monkeypatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)  # in this process the run sets nothing
    assert play("inprocess", tmp_path, broken=2) == [*ANSWERS, "here"]
    assert "device 2 is broken" in (tmp_path / "flower.log").read_text()
    assert capfd.readouterr() == ("", "")


@pytest.mark.xdist_group("network")
@pytest.mark.slow
def test_ray_answers_as_inprocess_and_ends_whole_when_interrupted(
    tmp_path: Path, capfd, descendants: Callable[[], list[psutil.Process]]
) -> None:
    """From other processes, as urgent as this one, of one thread; the interrupt arrives while a device computes."""
    handlers, threads = logging.getLogger("flwr").handlers[:], set(threading.enumerate())
    with interrupts.remembered(), pytest.raises(KeyboardInterrupt):
        play("ray", tmp_path, broken=2, end="interrupt")
    assert (tmp_path / "answers.txt").read_text().splitlines() == [*ANSWERS, "elsewhere 1"]
    assert "device 2 is broken" in (tmp_path / "flower.log").read_text()
    assert capfd.readouterr().out == ""
    assert logging.getLogger("flwr").handlers == handlers
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    # A thread that waits for a message for ever would keep the process alive.
    assert not [thread for thread in threading.enumerate() if thread not in threads and not thread.daemon]
    wait_until(lambda: descendants() == [])  # a process of Ray ends once it has noticed that its node has


@pytest.mark.xdist_group("network")
@pytest.mark.slow
def test_deployment_answers_as_inprocess_and_ends_whole_when_its_superlink_is_killed(
    tmp_path: Path, capfd, descendants: Callable[[], list[psutil.Process]]
) -> None:
    with pytest.raises(UserError, match=r"^the SuperLink has ended .*killed by SIGKILL\): see .*flower\.log"):
        play("deployment", tmp_path, devices=2, broken=1, end="superlink")
    assert (tmp_path / "answers.txt").read_text().splitlines() == ["1 error 2", "2 error 2", "elsewhere 1"]
    assert "device 1 is broken" in (tmp_path / "flower.log").read_text()
    assert capfd.readouterr().out == ""
    assert descendants() == []


def test_a_user_error_in_the_server_app_reaches_the_caller_in_this_process(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^the 'path' is wrong: ü$"):
        play("inprocess", tmp_path, devices=1, end="mistake")


def test_what_ends_the_server_app_under_ray_reaches_the_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flower ends as usual whatever the ServerApp did; here it is a function."""
    monkeypatch.setattr(ray, "_start_ray", lambda nodes, folder: None)

    def with_engine(simulate: Callable[[ServerApp], None]) -> None:
        monkeypatch.setattr(ray, "run_simulation", lambda app, *args, **kwargs: simulate(app))
        ray.run(server_app, ClientApp(), num_nodes=1, run_config={"end": "mistake"})

    def crash(app: ServerApp) -> None:
        raise OSError("no memory")

    grid = InProcessGrid(ClientApp(), 1)
    with pytest.raises(UserError, match=r"^the 'path' is wrong: ü$"):
        with_engine(lambda app: app(grid, Context(1, 0, {}, RecordDict(), {})))
    with pytest.raises(OSError, match="no memory"):
        with_engine(crash)
    with pytest.raises(RuntimeError, match="without running the ServerApp"):
        with_engine(lambda app: None)


@pytest.mark.parametrize("left", [True, False])
def test_ray_is_stopped_where_flower_failed_before_it_could(monkeypatch: pytest.MonkeyPatch, left: bool) -> None:
    def engine(*args: object, **kwargs: object) -> None:
        raise OSError("no memory")

    stop = Mock()
    monkeypatch.setattr(ray, "_start_ray", lambda nodes, folder: None)
    monkeypatch.setattr(ray, "run_simulation", engine)
    monkeypatch.setattr("ray.is_initialized", lambda: left)
    monkeypatch.setattr("ray.shutdown", stop)
    with pytest.raises(OSError, match="no memory"):
        ray.run(server_app, ClientApp(), num_nodes=1, run_config={})
    assert stop.call_count == left


def test_ray_is_started_again_where_a_busy_machine_let_it_time_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray gives up after 30 seconds, and says so with a bare Exception; here it is a function."""
    slow, starts, ends = Exception("The current node timed out during startup. This could happen"), [], []

    def init(failures: list[Exception | None], **given: object) -> None:
        starts.append(given["num_cpus"])
        if (failure := failures.pop(0)) is not None:
            raise failure

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr("ray.shutdown", lambda: ends.append(len(starts)))
    monkeypatch.setattr("ray.init", partial(init, [slow, slow, None]))
    ray._start_ray(1, None)
    assert (starts, ends) == ([1, 1, 1], [1, 2])
    for failures in ([slow] * 9, [RuntimeError("no memory")]):
        monkeypatch.setattr("ray.init", partial(init, failures))
        with pytest.raises(Exception, match=r"timed out|no memory"):
            ray._start_ray(1, None)
    assert len(starts) == 3 + 5 + 1


class Nodes:
    """A cluster of Ray whose machines answer or not; functions in place of Ray's."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, silent: set[str], noticed: float, failing: set[str]) -> None:
        """``silent`` machines are dead, which Ray says from its look ``noticed`` on; ``failing`` raise once."""
        self.silent, self.noticed, self.failing, self.looks = silent, noticed, failing, 0
        monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6390")
        monkeypatch.setattr(ray, "_POLL", 0.0)
        for name in ("nodes", "remote", "wait", "get"):
            monkeypatch.setattr(f"ray.{name}", getattr(self, name))

    def nodes(self) -> list[dict[str, object]]:
        self.looks += 1
        return [
            {"NodeID": 56 * n, "NodeManagerAddress": n, "Alive": n not in self.silent or self.looks < self.noticed}
            for n in ("a", "b", "c")
        ]

    def remote(self, **told: object) -> Callable[[object], "Nodes"]:
        assert told == {"num_cpus": 0, "max_retries": 0}
        return lambda function: self

    def options(self, scheduling_strategy) -> Mock:  # type: ignore[no-untyped-def]
        assert not scheduling_strategy.soft
        return Mock(remote=lambda: scheduling_strategy.node_id[0])

    def wait(self, asked: list[str], timeout: float) -> tuple[list[str], list[str]]:
        done = [node for node in asked if node not in self.silent][:1]
        return done, [node for node in asked if node not in done]

    def get(self, node: str) -> None:
        if node in self.failing:
            self.failing.discard(node)
            raise RayError(f"{node} cannot\nstart a process")


def test_a_machine_of_a_cluster_that_has_just_died_is_waited_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """An actor of Flower's that was made for it would never answer."""
    cluster = Nodes(monkeypatch, silent={"b"}, noticed=6, failing={"c"})
    ray._wait_for_machines()
    assert cluster.looks == 6
    cluster = Nodes(monkeypatch, silent=set(), noticed=0, failing=set())
    ray._wait_for_machines()
    assert cluster.looks == 4  # each of three answered once


def test_a_machine_of_a_cluster_that_neither_answers_nor_is_gone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    Nodes(monkeypatch, silent={"b"}, noticed=float("inf"), failing={"a"})
    monkeypatch.setattr(ray, "_ANSWER", 0.05)
    with pytest.raises(UserError, match=r"^of the Ray cluster 10.0.0.1:6390 the machine b has .* \(a cannot start a"):
        ray._wait_for_machines()


def test_ray_ends_where_flower_would_wait_for_ever_for_an_actor(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for each message that is out, in threads that keep the process alive; here it is a function."""
    killed = threading.Event()
    monkeypatch.setattr(ray, "_start_ray", lambda nodes, folder: None)
    monkeypatch.setattr(ray, "_WIND_DOWN", 0.01)
    monkeypatch.setattr(ray, "_kill_actors", killed.set)

    def engine(app: ServerApp, *args: object, **kwargs: object) -> None:
        app(InProcessGrid(ClientApp(), 1), Context(1, 0, {}, RecordDict(), {}))
        killed.wait()

    monkeypatch.setattr(ray, "run_simulation", engine)
    with pytest.raises(UserError, match=r"^the 'path' is wrong: ü$"):
        ray.run(server_app, ClientApp(), num_nodes=1, run_config={"end": "mistake"})
    assert killed.is_set()


@pytest.mark.xdist_group("network")
@pytest.mark.slow
def test_ray_ends_though_another_program_has_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray as real

    class Holder:
        def there(self) -> bool:
            return True

    holders = []

    def start(nodes: int, folder: Path | None) -> None:
        real.init(num_cpus=1, include_dashboard=False, configure_logging=False, log_to_driver=False)
        holders.append(real.remote(num_cpus=1)(Holder).remote())
        assert real.get(holders[0].there.remote())

    app = ServerApp()

    @app.main()
    def main(grid: Grid, context: Context) -> None:
        wait_until(lambda: bool(list(grid.get_node_ids())))
        (node,) = grid.get_node_ids()
        replies = list(grid.send_and_receive([Message(RecordDict(), node, "train")], timeout=4))
        raise UserError(f"{len(replies)} answers")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "_start_ray", start)
    monkeypatch.setattr(ray, "_WIND_DOWN", 1.0)
    threads = set(threading.enumerate())
    with pytest.raises(UserError, match=r"^0 answers$"):
        ray.run(app, client_app, num_nodes=1, run_config={"broken-device": -1})
    assert not [thread for thread in threading.enumerate() if thread not in threads and not thread.daemon]


@pytest.mark.parametrize(
    ("end", "error", "why"),
    [("mistake", UserError, r"^the 'path' is wrong: ü$"), ("", RuntimeError, r"^KeyError: 'devices' \(see .*log\)$")],
)
def test_what_ends_the_server_app_of_a_deployment_reaches_the_caller(
    tmp_path: Path, end: str, error: type[Exception], why: str
) -> None:
    """The app that runs in another process, run in this one."""
    outcome = tmp_path / "outcome.json"
    config = {"deployment-server-app": f"{APPS}:server_app", "deployment-outcome": str(outcome), "end": end}
    deployment.app(InProcessGrid(ClientApp(), 1), Context(1, 0, {}, RecordDict(), config))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["begun", "outcome.json"]
    with pytest.raises(error, match=why):
        deployment._pass_on(outcome, tmp_path / "log")


@pytest.mark.parametrize("victim", ["SuperNode 1", "command flwr run"])
def test_a_process_that_a_deployment_loses_ends_it(
    tmp_path: Path, descendants: Callable[[], list[psutil.Process]], victim: str
) -> None:
    sleep = ["sleep", "1000"]

    def sleeping() -> list[psutil.Process]:
        return [one for one in descendants() if one.cmdline()[1:] == sleep[1:]]

    with (tmp_path / "log").open("ab") as log, ProcessGroup(tmp_path / "group") as group:
        group.start(victim, sleep, os.environ, log)
        wait_until(lambda: sleeping() != [])  # what has just begun has no environment yet
        (process,) = sleeping()
        group.start("SuperNode 0", sleep, os.environ, log)
        process.kill()
        with pytest.raises(UserError, match=rf"^the {victim} has ended .*killed by SIGKILL\): see .*log; the same"):
            deployment._wait_for(tmp_path / "outcome.json", group, tmp_path / "log")
        (tmp_path / "outcome.json").touch()
        deployment._wait_for(tmp_path / "outcome.json", group, tmp_path / "log")  # what ends after it does not matter
    assert descendants() == []


def test_other_errors_reach_the_caller_too(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="end"):
        run_apps("inprocess", server_app, client_app, num_nodes=1, run_config={}, seed=0, log_file=tmp_path / "log")


def test_unusable_requests_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"unknown backend 'cloud'.*inprocess, ray, deployment"):
        play("cloud", tmp_path)
    with pytest.raises(UserError, match="at most 32 of them, not 33"):
        play("deployment", tmp_path, devices=33)
    with pytest.raises(TypeError, match=r"run_config\['list'\]"):
        run_apps(
            "inprocess",
            server_app,
            client_app,
            num_nodes=1,
            run_config={"list": [1]},  # type: ignore[dict-item]
            seed=0,
            log_file=tmp_path / "log",
        )
    with pytest.raises(TypeError, match="not a ClientApp"):
        load_client_app(f"{APPS}:server_app")
    assert not list(tmp_path.iterdir())
    assert load_server_app(f"{APPS}:server_app") is load_server_app(server_app)


@given(st.dictionaries(st.text(min_size=1), st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()))
def test_the_generated_app_carries_the_configuration_unchanged(settings: dict[str, bool | int | float | str]) -> None:
    text = deployment._app_toml("sim.backends.deployment:app", "clients.app:app", settings)
    table = tomllib.loads(text)["tool"]["flwr"]["app"]
    assert table["config"] == settings
    assert table["components"] == {"serverapp": "sim.backends.deployment:app", "clientapp": "clients.app:app"}
