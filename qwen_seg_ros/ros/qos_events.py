"""Publishers that cannot be heard: their quality of service is another than this node asks for. Says which, and what would do."""

from collections.abc import Callable
from typing import Any

from rclpy.qos import qos_policy_name_from_kind

try:
    from rclpy.event_handler import SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks  # type: ignore[no-redef]

_LEAST = {"RELIABILITY": "best_effort", "DURABILITY": "volatile"}  # what every publisher offers


def when_unheard(topic: str, tell: Callable[[str], None]) -> SubscriptionEventCallbacks:
    """`tell` gets a sentence when a publisher is discovered on the topic whose messages will not arrive."""

    def on_incompatible(event: Any) -> None:
        tell(reason(topic, qos_policy_name_from_kind(event.last_policy_kind)))

    return SubscriptionEventCallbacks(incompatible_qos=on_incompatible)


def reason(topic: str, policy: str) -> str:
    """policy: name of the one that does not fit, as rclpy has it: RELIABILITY, DURABILITY, ..."""
    least = _LEAST.get(policy)
    remedy = "set it at the publisher to what this node asks for"
    if least is not None:
        remedy = f"start the node with -p qos_overrides.{topic}.subscription.{policy.lower()}:={least}, or change the publisher"
    return f"a publisher on {topic} offers less {policy.lower()} than this node asks for, so nothing of it arrives; {remedy}"
