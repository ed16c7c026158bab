"""Who cannot be heard because the quality of service does not fit: says which topic and policy, and what would do.

The executor asks every event of every publisher and subscription whenever any message comes: for publishers, of which there are
many, the others that rclpy would make are left out.
"""

from collections.abc import Callable
from typing import Any

from rclpy.qos import qos_policy_name_from_kind

try:
    from rclpy.event_handler import PublisherEventCallbacks, SubscriptionEventCallbacks
except ImportError:  # Humble
    from rclpy.qos_event import PublisherEventCallbacks, SubscriptionEventCallbacks  # type: ignore[no-redef]

_LEAST = {"RELIABILITY": "best_effort", "DURABILITY": "volatile"}  # what every publisher offers
_MOST = {"RELIABILITY": "reliable", "DURABILITY": "transient_local"}  # what is enough for every subscriber
Tell = Callable[[str], None]


def of_subscription(topic: str, tell: Tell) -> SubscriptionEventCallbacks:
    """`tell` gets a sentence when a publisher is discovered on the topic whose messages will not arrive."""
    return SubscriptionEventCallbacks(incompatible_qos=lambda event: tell(unheard(topic, _policy(event))))


def of_publisher(topic: str, tell: Tell) -> PublisherEventCallbacks:
    """`tell` gets a sentence when a subscriber is discovered that will not get what is published on the topic."""
    return PublisherEventCallbacks(
        incompatible_qos=lambda event: tell(unserved(topic, _policy(event))), use_default_callbacks=False
    )


def unheard(topic: str, policy: str) -> str:
    """policy: name of the one that does not fit, as rclpy has it: RELIABILITY, DURABILITY, ..."""
    remedy = _remedy(topic, "subscription", policy, _LEAST.get(policy), "the publisher")
    return f"a publisher on {topic} offers less {policy.lower()} than this node asks for, so nothing of it arrives; {remedy}"


def unserved(topic: str, policy: str) -> str:
    """The same of a subscriber to this node's messages."""
    remedy = _remedy(topic, "publisher", policy, _MOST.get(policy), "the subscriber")
    return f"a subscriber to {topic} asks for more {policy.lower()} than this node offers, so it gets nothing; {remedy}"


def _remedy(topic: str, ours: str, policy: str, value: str | None, theirs: str) -> str:
    if value is None:
        return f"set it at {theirs} to what this node has"
    return f"start this node with -p qos_overrides.{topic}.{ours}.{policy.lower()}:={value}, or change {theirs}"


def _policy(event: Any) -> str:
    return qos_policy_name_from_kind(event.last_policy_kind)
