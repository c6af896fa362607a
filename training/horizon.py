"""A horizon suggested from how long wins take; nobody's configuration is changed by it."""

from dataclasses import dataclass

import numpy as np

from features.history import DAY_US
from training.crm import Crm
from training.labels import delay_curve

SHARE = 0.9
ROUND_DAYS = (7, 14, 30, 60, 90, 120, 180, 270, 365, 540, 730)
WINS_TO_SUGGEST = 20


@dataclass(frozen=True)
class Horizon:
    """How many days to give a lead, None where too few wins are known, and why."""

    days: int | None
    reason: str


def suggest(crm: Crm) -> Horizon:
    """Suggest the shortest round number of days by which nine of ten wins have come, from creation.

    Young leads have only had time for quick wins: the share is that of the reverse-time product
    limit.
    """
    won, outcomes = crm.outcomes.won, crm.outcomes
    created = crm.leads.created_us
    first = np.full(len(created), np.iinfo(np.int64).max)
    np.minimum.at(first, outcomes.lead[won], outcomes.known_us[won])
    winners = np.flatnonzero((first <= crm.until_us) & (first >= created))
    if len(winners) < WINS_TO_SUGGEST:
        facts = f"{len(winners)} wins, {WINS_TO_SUGGEST} are needed"
        return Horizon(None, f"no horizon can be suggested: {facts}")
    delay = (first[winners] - created[winners]) / DAY_US
    curve = delay_curve(delay, (crm.until_us - created[winners]) / DAY_US)
    by = dict(zip(ROUND_DAYS, curve.at(ROUND_DAYS).tolist(), strict=True))
    days = next((day for day, share in by.items() if share >= SHARE), ROUND_DAYS[-1])
    steps = ", ".join(f"{share:.0%} by day {day}" for day, share in by.items() if day <= days)
    facts = f"of the wins have come, counted from creation: {steps}"
    return Horizon(days, f"suggested: --horizon-days {days}; {facts}")
