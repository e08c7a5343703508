"""Rollouts of a policy or an expert: how they are run, recorded as demonstrations, counted, and shown.

In: a checkpoint and seeds, or the bags of trials that ran through ROS. Out: `results.json`, figures and a page; bags of
demonstrations. Start with `lockstep.py` (one robot in simulated time), then `synchronous/trials_in_simulation.py`.
"""
