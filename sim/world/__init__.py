"""The simulated world: streams, drift, devices, costs."""
