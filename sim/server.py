"""The Flower ServerApp: the cloud, with the whole run in its hands.

The same app runs on the in-process grid, on Flower's Simulation Engine and on a SuperLink; its options come as Flower's
run configuration.
"""

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from core.errors import UserError
from core.run_folder import RunFolder
from sim.backends.inprocess import print_at_exit
from sim.config import Config
from sim.experiment import World, execute


def server_app(prepared: tuple[RunFolder, World] | None = None) -> ServerApp:
    """Give the app; ``prepared`` is the run that this process has prepared already (:func:`sim.experiment.prepare`)."""
    made = ServerApp()

    @made.main()
    def main(grid: Grid, context: Context) -> None:
        """Execute the run that the configuration describes.

        `flwr run --stream` ends with exit status 0 whatever happens, so what ended the run is the last line it shows.
        """
        try:
            config = Config.from_flat(context.run_config).check().absolute()
            execute(config, grid, prepared=prepared)
            print_at_exit(f"finished: {config.folder}")
        except Exception as error:
            name = "" if isinstance(error, UserError) else f"{type(error).__name__}: "
            print_at_exit(f"error: {name}{error}")
            raise

    return made


app = server_app()
"""As another process imports it, which prepares the run by itself."""
