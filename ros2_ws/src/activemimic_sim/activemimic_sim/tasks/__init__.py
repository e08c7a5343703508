"""The evaluation tasks, a module each: scene, what a seed places where, and what counts as success.

In: a seed. Out: a layout to start from and, at every instant, a verdict. Start with `task.py`.
"""

from activemimic_sim.tasks.pouring import Pouring
from activemimic_sim.tasks.reaching import Reaching
from activemimic_sim.tasks.task import Layout, Task, TaskStatus

TASKS: dict[str, type[Task]] = {task.name: task for task in (Reaching, Pouring)}


def make_task(name: str) -> Task:
    """A fresh task by name; ValueError names the known ones."""
    if name not in TASKS:
        raise ValueError(f"there is no task '{name}': expected one of {', '.join(TASKS)}")
    return TASKS[name]()


__all__ = ["TASKS", "Layout", "Task", "TaskStatus", "make_task"]
