"""How a run is doing: validation, rollouts, logs, curves, failures."""
