"""Trajectories to episodes of a dataset: chunk-relative targets, export, loading."""
