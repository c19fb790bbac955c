"""The simulated world: data, streams, costs, and the run itself."""
