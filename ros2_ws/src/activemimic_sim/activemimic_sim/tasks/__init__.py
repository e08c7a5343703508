"""The evaluation tasks, a module each: scene, what a seed places where, and what counts as success.

In: a seed. Out: a layout to start from and, at every instant, a verdict. Start with `task.py`.
"""

from activemimic_sim.tasks.finding import Finding
from activemimic_sim.tasks.pouring import Pouring
from activemimic_sim.tasks.reaching import Reaching
from activemimic_sim.tasks.restocking import Restocking
from activemimic_sim.tasks.task import Layout, SceneError, Task, TaskStatus

TASKS: dict[str, type[Task]] = {task.name: task for task in (Restocking, Reaching, Finding, Pouring)}


def make_task(name: str) -> Task:
    """A fresh task by name; SceneError names the known ones."""
    if name not in TASKS:
        raise SceneError(f"there is no task '{name}': expected one of {', '.join(TASKS)}")
    return TASKS[name]()


__all__ = ["TASKS", "Layout", "SceneError", "Task", "TaskStatus", "make_task"]
