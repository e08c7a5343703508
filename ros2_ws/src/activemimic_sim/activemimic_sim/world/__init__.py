"""The MuJoCo world: physics, cameras, perturbations, and the pace at which they run."""
