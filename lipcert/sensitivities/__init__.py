"""Backpropagation for bounds: how much one example can move the gradient of each parameter."""
