"""How many hand-offs sales can still be given this week, where the rule of the model says it."""

import sqlalchemy as sa

from serving.served_model import ServedModel
from serving.store.policy import DAY_US
from serving.store.tables import handoffs

LOCK = 0x6C656165
"""Of PostgreSQL's advisory locks: places are given out one transaction after the other."""
WEEK_US, MONDAY = 7 * DAY_US, 3


def places(connection: sa.Connection, model: ServedModel | None, now_us: int) -> int | None:
    """Return how many more may be proposed in this week (ISO, UTC); None for any number.

    Nobody else gives places out until the transaction ends. Without a model nobody knows, and
    there are none.
    """
    if model is None:
        return 0
    rule = model.scorer.rule
    if rule.kind != "capacity" or not rule.stated or rule.capacity_per_week is None:
        return None
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
    monday = monday_us(now_us)
    this_week = handoffs.c.proposed_us.between(monday, monday + WEEK_US - 1)
    made = connection.execute(sa.select(sa.func.count()).where(this_week)).scalar_one()
    return max(rule.capacity_per_week - made, 0)


def monday_us(now_us: int) -> int:
    """Return the moment at which the week began.

    >>> monday_us(DAY_US) == -3 * DAY_US, monday_us(4 * DAY_US + 1) == 4 * DAY_US
    (True, True)
    """
    days = now_us // DAY_US
    return (days - (days + MONDAY) % 7) * DAY_US
