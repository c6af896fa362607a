"""What is known of a request that writes; the request itself is not here."""

from dataclasses import dataclass

from serving.served_model import ServedModel
from serving.store.keys import Client
from serving.store.policy import Policy


@dataclass(frozen=True)
class Call:
    """One request that writes: who asks, when, and by which model is decided.

    Attributes
    ----------
    client : Client
    request_id : str
    now_us : int
    model : ServedModel or None
    policy : Policy
    """

    client: Client
    request_id: str
    now_us: int
    model: ServedModel | None
    policy: Policy


CLOCK = Client("", "clock", frozenset())
"""Who asks where nobody does."""
