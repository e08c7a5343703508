"""Ways to run one network: an observation is encoded once to a cache, noise is moved over it to a chunk.

`eager` is the reference; every other runtime is held against it by a test. Open `runtime.py` first.
"""
