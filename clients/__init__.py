"""The role of a device: the Flower ClientApp, and what it computes locally."""
