"""The network: images, text and state enter; the velocity of a noisy action chunk leaves.

`config` holds every size, `layers` and `vision` the blocks, `flow` the formulas of flow matching.
Open `flow_policy.py` first.
"""
