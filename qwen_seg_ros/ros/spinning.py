"""The executor's loop, which outlives what a callback raises."""

import traceback
from typing import Any

from rclpy.executors import Executor, ExternalShutdownException


def spin(executor: Executor, log: Any) -> None:
    """Until the context is shut down; raises ExternalShutdownException when that happened while it waited.

    rclpy lets an exception of any callback end the process, of its own callbacks too: a time before zero on /clock and a
    parameter of an unknown type are enough. Here such a message is left, the log says so at most once a second, and the next
    one is served.
    """
    while executor.context.ok():
        try:
            executor.spin()
        except ExternalShutdownException:
            raise
        except Exception as error:
            log.error(f"a callback failed and was left: {type(error).__name__}: {error}", throttle_duration_sec=1.0)
            log.debug(traceback.format_exc())
