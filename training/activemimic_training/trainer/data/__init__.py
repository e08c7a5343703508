"""Rows of datasets to batches."""
