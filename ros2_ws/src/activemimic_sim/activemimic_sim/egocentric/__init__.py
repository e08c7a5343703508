"""A person at work, seen by the camera on their own head, with every pose known exactly.

In: a task and a seed. Out: images of a video, camera and wrists at any time. Start with `person.py`; `motion.py` is
how a person moves, `tasks.py` what is done, `room.py` what there is to see.
"""
