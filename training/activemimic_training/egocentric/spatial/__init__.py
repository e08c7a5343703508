"""Poses, cameras and trajectories in space."""
