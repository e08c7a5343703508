"""ROS shell of `trials.TrialSeries`: calls the other nodes' services and listens to /sim/task."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from activemimic_rollout.agents.agents import weights_digest
from activemimic_rollout.trials.results import Protocol
from activemimic_rollout.trials.trial_plan import TrialPlan, load_plan, published_plan, seed_series
from activemimic_rollout.trials.trial_series import TrialError, TrialSeries
from activemimic_sim.tasks import make_task
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from activemimic_bringup.launching.parameters import EVALUATOR, names
from activemimic_bringup.nodes.node import declare, run
from activemimic_bringup.nodes.ros_client import RosClient, StoppedError

SHUTDOWN_S = 3.0  # for stopping the robot after a signal


class EvaluatorNode(Node):
    """Runs the trials in a thread of its own and is finished when they are."""

    def __init__(self) -> None:
        super().__init__("evaluator")
        values = declare(self, EVALUATOR)
        self.finished = False
        self.exit_code = 0
        self._client = RosClient(self, values["service_timeout_s"], values["operator_key_file"])
        policy = values["checkpoint"] if values["mode"] == "policy" else "expert"
        plan = _plan(values)
        protocol = Protocol(
            mode="ros",
            task=values["task"],
            policy=policy,
            plan=plan.name,
            time_limit_s=values["time_limit_s"] or make_task(values["task"]).time_limit_s,
            contract=values["contract"],
            weights=weights_digest(policy),
            perturbations=names(values["perturbations"]),
            ablated_cameras=names(values["ablated_cameras"]),
            instruction=values["instruction"],
        )
        results = Path(values["out"]) / "results.json"
        self._series = TrialSeries(self._client, protocol, plan, values["record"], results, self.get_logger().info)
        self._thread = threading.Thread(target=self._run, name="trials", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let a running trial stop the robot; its services are answered only while this node spins."""
        self._client.stop()
        executor = SingleThreadedExecutor()
        executor.add_node(self)
        deadline = time.monotonic() + SHUTDOWN_S
        while self._thread.is_alive() and time.monotonic() < deadline:
            executor.spin_once(timeout_sec=0.05)

    def _run(self) -> None:
        try:
            self._series.run()
            successes = sum(trial.success for trial in self._series.trials)
            self.get_logger().info(f"done: {successes} of {len(self._series.trials)} trials succeeded")
        except StoppedError:
            pass
        except TrialError as error:
            self.get_logger().fatal(str(error))
            self.exit_code = 1
        except Exception:
            self.get_logger().fatal(traceback.format_exc())
            self.exit_code = 1
        self.finished = True


def _plan(values: Mapping[str, Any]) -> TrialPlan:
    task, count = values["task"], values["trials"]
    if values["first_seed"] >= 0:
        return seed_series(task, values["first_seed"], count or 1)
    plan = load_plan(values["plan"], task) if values["plan"] else published_plan(task)
    return plan.first(count or None)


def main() -> None:
    run(EvaluatorNode)


if __name__ == "__main__":
    main()
