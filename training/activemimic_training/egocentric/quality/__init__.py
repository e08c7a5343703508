"""Metric scale, repair and checks of estimated trajectories, and their comparison with true ones."""
