"""What runs together, and how it is started, supervised and secured.

`graph.py` is the one description; `ros_launch.py` makes a `ros2 launch` description of it, `processes.py` runs it as
`activemimic up` does. Every node's parameters are in `parameters.py`.
"""
