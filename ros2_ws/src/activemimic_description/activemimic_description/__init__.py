"""The robot in numbers, and how it speaks ROS 2.

In: `robots/*.yaml` (links, joints, limits, cameras) and `contracts/*.yaml` (topics to slots). Out: URDF, MJCF,
kinematics, and decoded observations and encoded commands. Start with `robot.py`, then `contract.py`.
"""
