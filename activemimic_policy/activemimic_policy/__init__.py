"""The robot's policy, free of ROS: camera images, slots and an instruction enter; chunks of slot positions leave.

Nothing here imports torch until `inference`, `checkpoint` or `model` is imported; `execution` needs numpy alone.
Open `inference.py` first: it shows the whole way from a checkpoint folder to a chunk.
"""
