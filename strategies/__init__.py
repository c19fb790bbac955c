"""The role of the cloud: one Flower Strategy per method, and how its cloud model is trained."""
