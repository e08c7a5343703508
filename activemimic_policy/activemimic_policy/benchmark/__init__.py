"""How long an inference takes, how wrong its shortcuts are, and how long it would take at the device's limits.

`roofline.py` counts what has to be done, `measure.py` does it with a watch. Open `measure.py` first.
"""
