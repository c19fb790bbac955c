"""Backbones whose block weights are arguments."""
