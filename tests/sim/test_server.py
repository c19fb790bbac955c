"""The ServerApp as `flwr run` starts it."""

import subprocess
import sys

FAILING = """
from flwr.app import Context, RecordDict
from flwr.supercore.exit import flwr_exit
from sim.server import app

try:
    app(None, Context(1, 0, {}, RecordDict(), {"methods": "fedavg"}))
except Exception as error:
    print("Flower shows", type(error).__name__)
flwr_exit(700)
"""


def test_what_ended_the_run_is_the_last_line_after_all_that_flower_says() -> None:
    done = subprocess.run(
        [sys.executable, "-u", "-c", FAILING], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    lines = done.stdout.strip().splitlines()
    assert lines[0] == "Flower shows UserError"
    assert any("Exit Code: 700" in line for line in lines)
    assert lines[-1].startswith("error: unknown method 'fedavg'")
