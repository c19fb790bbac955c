"""The same rows from machines that share nothing: two raylets, three SuperNodes with TLS and authentication.

Each machine is a network and a mount namespace (:mod:`tests.support.machines`): what this one writes is not there.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import pytest
import tomli_w

from clients.app import app
from sim.backends.inprocess import InProcessGrid
from sim.backends.keys import write_certificates, write_node_key
from sim.backends.processes import import_path
from sim.config import Config
from sim.experiment import execute
from tests.support.machines import HERE, Machine, machines, possible, stop, wait_until
from tests.support.runs import sessions, without_report, write_csv

pytestmark = [
    pytest.mark.xdist_group("network"),
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not possible(), reason="network and mount namespaces need Linux and root"),
]
POLICY = "drift:0.1"
"""DeviceRec remembers nothing all the same."""
PORT = 6390
BIN = Path(sys.executable).parent
WITHOUT_REPORT = """
import sys, analysis
from sim import run
from sim.config import Config
analysis.build_report = lambda folder: folder  # figures take longer than so small a run
sys.exit(run.cli(run.main, str(Config.__doc__)))
"""
"""The main command."""


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    monkeypatch.setenv("SIM_CACHE_DIR", str(tmp_path / "cache"))
    without_report(monkeypatch)
    return Config(
        dataset=str(write_csv(tmp_path / "data.csv")), devices=12, methods="devicerec,forward-ofa", references="none",
        blocks=2, context=5, memory=8, epochs=1, sessions=3, session_length=4, quiet=True, out=tmp_path / "run",
    ).absolute()  # fmt: skip


def environment(**more: str) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if name not in ("SIM_DEVICE_DIR", "RAY_ADDRESS")},
        "PYTHONPATH": import_path(),
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "RAY_USAGE_STATS_ENABLED": "0",
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        **more,
    }


def reference(config: Config, folder: Path) -> pd.DataFrame:
    """The rows of the in-process run."""
    config = replace(config, out=folder)
    execute(config, InProcessGrid(app, config.devices))
    return sessions(folder)


def command(config: Config, **options: str) -> list[str]:
    """The main command with this configuration."""
    out = [sys.executable, "-c", WITHOUT_REPORT]
    for name, value in {**config.to_flat(), **options}.items():
        out += [f"--{name}"] if value is True else [] if value is False else [f"--{name}", str(value)]
    return out


def play_killed_and_again(words: list[str], parts: Path, log: Path, variables: dict[str, str]) -> None:
    """Start the command, kill it once it has filed two rounds, and start it again to its end."""
    with log.open("ab") as file:
        first = subprocess.Popen(words, env=variables, stdout=file, stderr=file, start_new_session=True)
        wait_until(lambda: len(list(parts.glob("*.parquet"))) >= 4 or first.poll() is not None)
        assert first.poll() is None, log.read_text()[-3000:]
        stop(first)
        done = subprocess.run(words, env=variables, stdout=file, stderr=file, check=False)
    assert done.returncode == 0, log.read_text()[-3000:]


def installed(disk: Path) -> int:
    """Files in the depots below a folder."""
    return len([path for path in disk.rglob("*.safetensors") if len(path.stem) == 64])


# -- Ray ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Machine]:
    """A head here and a node on another machine, one processor each; the other machine."""
    here, heard, heard_there = tmp_path / "here", tmp_path / "head.log", tmp_path / "there.log"
    here.mkdir()
    with (
        machines(1) as (there,),
        heard.open("ab") as log,
        tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as sockets,  # whose paths must be short
    ):
        shared = ["--num-cpus=1", "--num-gpus=0", "--object-store-memory=200000000", "--block"]
        head = ["ray", "start", "--head", f"--node-ip-address={HERE}", f"--port={PORT}", "--include-dashboard=false"]
        head += [f"--temp-dir={sockets}"]
        begin = partial(
            subprocess.Popen, env=environment(TMPDIR=str(here)), stdout=log, stderr=log, start_new_session=True
        )
        process = until_up(lambda: begin([*head, *shared]), heard)
        try:
            other = ["ray", "start", f"--address={HERE}:{PORT}", f"--node-ip-address={there.address}"]
            until_up(lambda: there.start([*other, *shared], heard_there, environment()), heard_there)
            yield there
        finally:
            stop(process)


def until_up(begin: Callable[[], "subprocess.Popen[bytes]"], log: Path) -> "subprocess.Popen[bytes]":
    """Start a node of Ray, again if it ends: on a busy machine it gives up after 30 seconds."""
    for _ in range(5):
        process = begin()
        wait_until(lambda process=process: b"runtime started" in log.read_bytes() or process.poll() is not None)
        if process.poll() is None:
            return process
        stop(process)
    raise AssertionError(log.read_text()[-3000:])


def _listens(port: int) -> bool:
    import socket

    with socket.socket() as attempt:
        return attempt.connect_ex((HERE, port)) == 0


def test_two_raylets_that_share_nothing_give_the_rows_of_one_process_and_after_a_kill(
    config: Config, tmp_path: Path, cluster: Machine
) -> None:
    config = replace(config, policy=POLICY, backend="ray")
    expected = reference(config, tmp_path / "inprocess")
    variables = environment(RAY_ADDRESS=f"{HERE}:{PORT}")
    play_killed_and_again(command(config), config.folder / "parts", tmp_path / "out", variables)
    assert sessions(config.folder).equals(expected)
    assert not (cluster.disk() / config.folder.relative_to("/")).exists()
    assert installed(cluster.disk() / "tmp") == installed(tmp_path / "here") == 2  # both nodes worked


# -- SuperNodes --------------------------------------------------------------------------------------------------------


@pytest.fixture
def federation(tmp_path: Path) -> Iterator[tuple[Path, list[Machine]]]:
    """A SuperLink here with TLS and authentication, three SuperNodes on other machines; Flower's home, and those."""
    home = tmp_path / "home"
    home.mkdir()
    write_certificates(tmp_path, HERE)
    connection = {"address": f"{HERE}:8123", "root-certificates": str(tmp_path / "ca.crt")}
    (home / "config.toml").write_text(tomli_w.dumps({"superlink": {"default": "three", "three": connection}}))
    variables = environment(FLWR_HOME=str(home))
    with machines(3) as nodes, (tmp_path / "superlink.log").open("ab") as log:
        link = ["flower-superlink", "--enable-supernode-auth", "--host", HERE, "--port", "8123"]
        link += ["--ssl-ca-certfile", str(tmp_path / "ca.crt"), "--ssl-certfile", str(tmp_path / "server.crt")]
        link += ["--ssl-keyfile", str(tmp_path / "server.key")]
        process = subprocess.Popen(link, env=variables, stdout=log, stderr=log, start_new_session=True)
        try:
            wait_until(lambda: _listens(8123))
            for number, node in enumerate(nodes):
                public = write_node_key(tmp_path / f"{number}.key")
                words = ["flwr", "supernode", "register", str(public), "three"]
                subprocess.run([BIN / words[0], *words[1:]], env=variables, check=True, capture_output=True)
                keys = {name: (tmp_path / name).read_text() for name in ("ca.crt", f"{number}.key")}
                brought = " && ".join(f"printf '%s' \"$K{k}\" > {name}" for k, name in enumerate(keys))
                start = (
                    f"{brought} && exec flower-supernode --root-certificates ca.crt --superlink {HERE}:8123 "
                    f"--auth-supernode-private-key {number}.key --node-config 'device-dir=\"/tmp/devices\"'"
                )
                own = environment(**{f"K{k}": text for k, text in enumerate(keys.values())})
                node.start(["sh", "-c", start], tmp_path / f"node-{number}.log", own)
            yield home, nodes
        finally:
            stop(process)


def test_three_supernodes_that_share_nothing_give_the_rows_of_one_process(
    config: Config, tmp_path: Path, federation: tuple[Path, list[Machine]]
) -> None:
    home, nodes = federation
    # One session of one method: each message to a SuperNode starts a process.
    config = replace(config, methods="forward-ofa", backend="deployment", superlink="three", supernodes=3, sessions=1)
    expected = reference(config, tmp_path / "inprocess")
    words = command(config)
    with (tmp_path / "out").open("ab") as log:
        done = subprocess.run(words, env=environment(FLWR_HOME=str(home)), stdout=log, stderr=log, check=False)
    assert done.returncode == 0, (tmp_path / "out").read_text()[-3000:]
    assert sessions(config.folder).equals(expected)
    assert [installed(node.disk() / "tmp" / "devices") for node in nodes] == [1, 1, 1]  # each of them worked
    assert not any((node.disk() / config.folder.relative_to("/")).exists() for node in nodes)
