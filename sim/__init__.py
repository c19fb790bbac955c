"""The simulated world: data, streams, costs, and the run itself."""

import runpy
from pathlib import Path

# By its path: `core` may be what is hidden.
runpy.run_path(str(Path(__file__).resolve().parents[1] / "core" / "shadow.py"))["refuse"]()
