"""The Flower ServerApp: the cloud, with the whole run in its hands.

The same app runs on the in-process grid, on Flower's Simulation Engine and on a SuperLink; its options come as Flower's
run configuration.
"""

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from sim.config import Config
from sim.experiment import execute

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Execute the run that the configuration describes."""
    execute(Config.from_flat(context.run_config).check().absolute(), grid)
