"""Everything that runs: ROS 2 nodes, the graphs that start them, evaluation, the demo and the command line.

In: a robot contract, a checkpoint, words in a terminal. Out: commands to a robot, recorded episodes, results. Start
with `graph.py` (what runs together), then `activemimic_control/controller.py`.
"""
