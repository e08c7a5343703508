"""What was recorded, and what is learned from: bags, datasets, datasets of others. Free of ROS and of torch.

In: serialised messages. Out: episodes in MCAP, and LeRobot datasets made of them. Start with `bags/episode.py`, then
`dataset/align.py`.
"""
