"""Chunks over time: a chunk of targets enters when the policy has one; what to command now leaves at any time.

numpy only: the controller runs this in its loop, whether or not the policy is alive.
Open `player.py` first; `trajectory.py` is the curve it follows, `joining.py` what remains of earlier chunks.
"""
