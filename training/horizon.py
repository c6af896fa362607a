"""A horizon suggested from how long wins take; nobody's configuration is changed by it."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from features.history import DAY_US
from training.crm import Crm
from training.labels import DelayCurve, delay_curve
from training.snapshots import NEVER

Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]

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
    limit (`arrival`).
    """
    wins = int(_won_after(crm)[0].sum())
    if wins < WINS_TO_SUGGEST:
        facts = f"{wins} wins, {WINS_TO_SUGGEST} are needed"
        return Horizon(None, f"no horizon can be suggested: {facts}")
    by = dict(zip(ROUND_DAYS, arrival(crm).at(ROUND_DAYS).tolist(), strict=True))
    days = next((day for day, share in by.items() if share >= SHARE), ROUND_DAYS[-1])
    steps = ", ".join(f"{share:.0%} by day {day}" for day, share in by.items() if day <= days)
    facts = f"of the wins have come, counted from creation: {steps}"
    return Horizon(days, f"suggested: --horizon-days {days}; {facts}")


def arrival(crm: Crm) -> DelayCurve:
    """Return how wins arrive from a lead's creation on: the maturity curve of the tables.

    A lead's first win counts, from when it was known; wins from before the creation do not.
    """
    won, delay_days = _won_after(crm)
    follow_up = (crm.until_us - crm.leads.created_us) / DAY_US
    return delay_curve(delay_days[won], follow_up[won])


def _won_after(crm: Crm) -> tuple[Bool, Float64]:
    """Tell of each lead whether it was seen to win, and after how many days."""
    won, outcomes = crm.outcomes.won, crm.outcomes
    created = crm.leads.created_us
    first = np.full(len(created), NEVER)
    np.minimum.at(first, outcomes.lead[won], outcomes.known_us[won])
    return (first <= crm.until_us) & (first >= created), (first - created) / DAY_US
