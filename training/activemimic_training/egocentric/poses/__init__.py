"""Where camera and wrists are in every frame of an episode: two stages, and the backends that may serve each.

Start with `clip.py`, what a backend is given, and `estimates.py`, what it gives back.
"""
