"""A dataset to a checkpoint: decoded frames and rows enter, a folder that the policy serves leaves.

Training can be killed at any moment and started again; it goes on from its last checkpoint.
Open `train.py` first.
"""
