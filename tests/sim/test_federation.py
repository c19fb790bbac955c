"""Keys of a run, and how the end of a run in a federation is known; Flower's command is a script here."""

import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from core.errors import UserError
from sim.backends import federation
from sim.backends.federation import run_federation
from sim.backends.keys import write_certificates, write_node_key
from sim.config import Config


def shaken(server: ssl.SSLContext, client: ssl.SSLContext, name: str) -> str | None:
    """The version of TLS on which both ends agree, in memory; raises what the client raises."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(back, there, server_hostname=name),
        server.wrap_bio(there, back, server_side=True),
    ]
    for _ in range(10):
        for end in ends:
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return ends[0].version()


def test_the_certificate_of_a_run_is_good_for_its_address_and_no_other(tmp_path: Path) -> None:
    write_certificates(tmp_path, "127.0.0.1")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    client = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    assert shaken(server, client, "127.0.0.1") == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="IP address mismatch"):
        shaken(server, client, "127.0.0.2")
    with pytest.raises(ssl.SSLCertVerificationError):
        shaken(server, ssl.create_default_context(), "127.0.0.1")
    assert (tmp_path / "server.key").stat().st_mode & 0o077 == 0


def test_the_key_of_a_supernode_is_one_that_flower_reads(tmp_path: Path) -> None:
    public = write_node_key(tmp_path / "node-0.key")
    private = serialization.load_ssh_private_key((tmp_path / "node-0.key").read_bytes(), password=None)
    assert private.public_key() == serialization.load_ssh_public_key(public.read_bytes())
    assert public.read_bytes().startswith(b"ecdsa-sha2-nistp384 ")
    assert (tmp_path / "node-0.key").stat().st_mode & 0o077 == 0


@pytest.fixture
def flwr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Run in a federation whose `flwr` does what a script says; what was shown."""

    def run(script: str) -> list[str]:
        command = tmp_path / "flwr"
        command.write_text(
            f"#!/bin/sh\ncd {tmp_path}; echo $1 >> called; cp $2/pyproject.toml app.toml; echo $3 > name\n{script}\n"
        )
        command.chmod(0o755)
        monkeypatch.setattr(federation.shutil, "which", lambda name, path: str(command))
        shown: list[str] = []
        run_federation(
            "three",
            "sim.server:app",
            "clients.app:app",
            run_config={"devices": 7},
            log_file=tmp_path / "run.log",
            show=shown.append,
        )
        return shown

    return run


def test_what_the_server_app_prints_is_shown_and_its_end_is_known(
    flwr: Callable[[str], list[str]], tmp_path: Path
) -> None:
    shown = flwr(
        "echo 'play DeviceRec: done'; printf '\\033[92mINFO\\033[0m: pull\\n'; echo 'finished: /srv/run'; echo bye"
    )
    assert shown == ["play DeviceRec: done", "INFO: pull", "bye"]
    assert "play DeviceRec: done" in (tmp_path / "run.log").read_text()
    assert (tmp_path / "name").read_text() == "three\n"
    assert (tmp_path / "called").read_text() == "run\n"  # a run that has ended by itself is not stopped
    assert 'serverapp = "sim.server:app"' in (tmp_path / "app.toml").read_text()
    assert "devices = 7" in (tmp_path / "app.toml").read_text()


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("echo 'error: --devices 9: only 3 users'; exit 0", "^--devices 9: only 3 users$"),
        ("echo 'connection three is unknown'; exit 3", "exit status 3; connection three is unknown.*run.log"),
        ("echo 'play DeviceRec'; exit 0", "has ended before its ServerApp did"),  # the SuperLink was killed
    ],
)
def test_a_run_that_did_not_end_well_is_a_user_error(flwr: Callable[[str], list[str]], script: str, why: str) -> None:
    with pytest.raises(UserError, match=why):
        flwr(script)


COMMAND = """
import sys
from pathlib import Path
from sim.backends import federation

folder = Path(sys.argv[1])
federation.shutil.which = lambda name, path: str(folder / "flwr")
federation.run_federation("three", "a:b", "c:d", run_config={}, log_file=folder / "log", show=lambda line: None)
"""
FLWR = """#!/bin/sh
cd {folder}
if [ $1 = stop ]; then echo $2 $3 > half; mv half stopped; exit; fi
touch begun
sleep {delay}
echo Successfully started run 17
touch playing
sleep 1000
"""


@pytest.mark.parametrize(
    ("number", "when", "delay"),
    [(signal.SIGINT, "playing", 0), (signal.SIGKILL, "playing", 0), (signal.SIGINT, "begun", 2)],
)
def test_a_run_ends_with_the_command_that_started_it(
    tmp_path: Path, number: signal.Signals, when: str, delay: int
) -> None:
    """Also where the command is interrupted before it knows which run it has started."""
    (tmp_path / "flwr").write_text(FLWR.format(folder=tmp_path, delay=delay))
    (tmp_path / "flwr").chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(tmp_path)],
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )

    def wait_for(name: str) -> None:
        while not (tmp_path / name).exists():
            time.sleep(0.05)

    wait_for(when)
    time.sleep(0.3)  # until what was printed has been read
    process.send_signal(number)
    assert process.wait() != 0
    wait_for("stopped")
    assert (tmp_path / "stopped").read_text() == "17 three\n"


def test_a_connection_is_for_one_backend() -> None:
    with pytest.raises(UserError, match="--superlink names a connection for --backend deployment"):
        Config(superlink="three").check()
    assert Config(superlink="three", backend="deployment").check().nodes is None


@pytest.mark.parametrize(
    ("options", "nodes"),
    [
        ({}, 200),
        ({"backend": "ray"}, 16),
        ({"backend": "ray", "devices": 1000}, 32),
        ({"backend": "ray", "devices": 5}, 5),
        ({"backend": "deployment"}, 4),
        ({"backend": "deployment", "devices": 2}, 2),
        ({"backend": "deployment", "supernodes": 9, "devices": 2}, 9),
    ],
)
def test_the_number_of_nodes(options: dict[str, object], nodes: int) -> None:
    assert Config(**options).nodes == nodes  # type: ignore[arg-type]
