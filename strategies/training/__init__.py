"""How cloud models are trained."""
