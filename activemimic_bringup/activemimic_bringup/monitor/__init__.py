"""What a person at the robot is shown while it runs: `activemimic top`, without ROS.

In: the key values of the stack's status messages. Out: one frame as plain data, and its picture for a terminal. Start
with `stages.py`, then `watch.py`; `view.py` draws, `activemimic_bringup/monitor/watcher.py` listens.
"""
