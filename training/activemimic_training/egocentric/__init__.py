"""Egocentric video to the paper's unified action (Sec. 3.1, A.1, A.2).

In: one video of a person's own view. Out: camera and wrists over time in metres, checked, as a dataset whose targets
are the 27-D chunk-relative actions. Start with `trajectory.py`, what every pose stage gives, then `targets.py`.
"""
