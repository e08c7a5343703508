"""Thin ROS 2 shells: messages, parameters and services enter and leave; what is decided is decided elsewhere.

Every parameter is described in `parameters.py`; starting, spinning and ending is the same for all in `node.py`.
Open `controller_node.py` first.
"""
