"""ROS shell of `trials.TrialSeries`: calls the other nodes' services and listens to /sim/task."""

from __future__ import annotations

import threading
import time
import traceback
from pathlib import Path

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node

from activemimic_bringup.evaluation.results import Plan
from activemimic_bringup.nodes.node import declare, run
from activemimic_bringup.nodes.parameters import EVALUATOR
from activemimic_bringup.nodes.ros_client import RosClient, StoppedError
from activemimic_bringup.nodes.trials import TrialError, TrialSeries

SHUTDOWN_S = 3.0  # for stopping the robot after a signal


class EvaluatorNode(Node):
    """Runs the trials in a thread of its own and is finished when they are."""

    def __init__(self) -> None:
        super().__init__("evaluator")
        values = declare(self, EVALUATOR)
        self.finished = False
        self.exit_code = 0
        self._client = RosClient(self, values["service_timeout_s"])
        fields = ("mode", "task", "time_limit_s", "record", "checkpoint", "contract")
        plan = Plan(**{name: values[name] for name in fields})
        say = self.get_logger().info
        self._series = TrialSeries(self._client, plan, Path(values["out"]) / "results.json", say)
        first = values["first_seed"]
        self._seeds = list(range(first, first + values["trials"]))
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
            self._series.run(self._seeds)
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


def main() -> None:
    run(EvaluatorNode)


if __name__ == "__main__":
    main()
