"""Trials of a policy or an expert: how they are run in lock-step, counted, and shown.

In: a checkpoint and seeds, or the bags of trials that ran through ROS. Out: `results.json`, figures and a page. Start
with `lockstep.py` for running and `page.py` for what is shown.
"""
