"""What `make demo` shows.

In: nothing but this installation. Out: `report.html`. `shipped.py`: the policies that come with it, a trial of each
task in real time through ROS 2. `from_scratch.py`: the whole loop, from recording to a policy of one's own.
"""
