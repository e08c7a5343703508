"""Scripted teleoperators: one a task, each a feedback law from what stands where to the next command.

In: a simulation at an instant. Out: the robot command a tenth of a second ahead. Start with `reaching.py`.
"""

from activemimic_sim.experts.expert import Expert
from activemimic_sim.experts.finding import FindingExpert
from activemimic_sim.experts.pouring import PouringExpert
from activemimic_sim.experts.reaching import ReachingExpert
from activemimic_sim.experts.restocking import RestockingExpert
from activemimic_sim.world.simulation import Simulation

EXPERTS: dict[str, type[Expert]] = {
    "restocking": RestockingExpert,
    "reaching": ReachingExpert,
    "finding": FindingExpert,
    "pouring": PouringExpert,
}


def make_expert(simulation: Simulation, seed: int) -> Expert:
    """The expert of the simulation's task; `seed` varies its pace."""
    return EXPERTS[simulation.task.name](simulation, seed)


__all__ = ["EXPERTS", "Expert", "make_expert"]
