"""Who moves the robot in a rollout: policy, expert, recorded actions, or a policy with an expert (DAgger)."""
