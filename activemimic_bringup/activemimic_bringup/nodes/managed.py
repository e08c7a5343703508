"""ROS 2's managed life cycle: `ros2 lifecycle set /NAME configure`, `activate`, `deactivate`, `cleanup`, `shutdown`."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import Any

from activemimic_description.common.errors import explanation
from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

START_STATES = ("unconfigured", "inactive", "active")


class ManagedNode(LifecycleNode):
    """A node whose `configure`, `activate`, `deactivate` and `cleanup` raise where they cannot.

    The state is then the former one and the log says why. rclpy's own node says nothing; and where a transition is
    asked for that the state does not have, it raises out of the executor, and the caller waits for ever.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._error: Exception | None = None
        # The callback of rclpy's service is asked only for what is possible.
        self._changes_state: Callable[..., Any] = self._service_change_state.callback
        self._service_change_state.callback = self._on_change_state

    def configure(self) -> None:
        """From unconfigured to inactive: make everything ready."""

    def activate(self) -> None:
        """From inactive to active: begin."""

    def deactivate(self) -> None:
        """From active to inactive: rest."""

    def cleanup(self) -> None:
        """From inactive to unconfigured: let go of what `configure` made."""

    def start(self, state: str) -> None:
        """Go to one of START_STATES without being told. Raises what `configure` or `activate` raised."""
        steps = (self.trigger_configure, self.trigger_activate)
        for trigger in steps[: START_STATES.index(state)]:
            if trigger() != TransitionCallbackReturn.SUCCESS:
                assert self._error is not None
                raise self._error

    @property
    def state_label(self) -> str:
        """unconfigured, inactive, active or finalized; in a transition what that is called, such as configuring."""
        return str(self._state_machine.current_state[1])

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._outcome(self.configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        outcome = self._outcome(self.activate)
        return super().on_activate(state) if outcome == TransitionCallbackReturn.SUCCESS else outcome

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        super().on_deactivate(state)
        return self._outcome(self.deactivate)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        return self._outcome(self.cleanup)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        if state.label == "active":
            self.on_deactivate(state)
        return self._outcome(self.cleanup) if state.label != "unconfigured" else TransitionCallbackReturn.SUCCESS

    def _outcome(self, transition: Callable[[], None]) -> TransitionCallbackReturn:
        self._error = None
        try:
            transition()
        except Exception as error:
            self._error = error
            return TransitionCallbackReturn.FAILURE
        return TransitionCallbackReturn.SUCCESS

    def _on_change_state(self, request: ChangeState.Request, response: ChangeState.Response) -> Any:
        wanted = request.transition
        possible = {number: label for number, label, *_ in self._state_machine.available_transitions}
        name = wanted.label or possible.get(wanted.id, f"transition {wanted.id}")
        if name not in possible.values():
            words = sorted(set(possible.values()))
            self.get_logger().warning(f"{name}: not while it is {self.state_label}; possible: {', '.join(words)}")
            response.success = False
            return response
        answer = self._changes_state(request, response)
        if self._error is not None:
            why = explanation(self._error) or "".join(traceback.format_exception(self._error))
            self.get_logger().error(f"{name} failed: {why}")
        else:
            self.get_logger().info(f"{name}: it is {self.state_label} now")
        return answer
