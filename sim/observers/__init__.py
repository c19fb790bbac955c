"""Observers of training and play: progress display and TensorBoard."""
