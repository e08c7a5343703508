"""Chunks and measured joints enter, limited joint commands leave; one class for robot, simulation and tests.

Free of ROS and of clocks: every method takes the time. Open `controller.py` first.
"""
