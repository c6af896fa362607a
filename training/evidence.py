"""What hand-off rules are fixed from: out-of-time scores of leads, and what came of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import beta

from training import handoff
from training.config import RuleChoice
from training.handoff import Rule

Int64 = npt.NDArray[np.int64]
Float64 = npt.NDArray[np.float64]

CONFIDENCE = 0.95
BOTTOM_SHARE = 0.2
POINTS = 20
FEWEST_BELOW = 30
"""Leads below a threshold that tell what one more is worth."""
"""Of the curve of what one more lead per week brings."""


@dataclass(frozen=True)
class Evidence:
    """The snapshots at which a lead's score is higher than ever before, by lead and moment.

    A lead first crosses a threshold at one of them, whatever the threshold.

    Attributes
    ----------
    lead : int64 [rows]
    score : float64 [rows]
        Calibrated, of a model that had not seen the lead; -inf where the rule abstains, so that no
        threshold is reached.
    won : float64 [rows]
        Whether a win came within the horizon; NaN where it was too early to tell.
    leads_per_week : int64 [weeks]
        How many leads came in the weeks seen.
    """

    lead: Int64
    score: Float64
    won: Float64
    leads_per_week: Int64

    @classmethod
    def of(
        cls,
        lead: Int64,
        as_of_us: Int64,
        score: Float64,
        won: Float64,
        leads_per_week: Int64,
    ) -> "Evidence":
        """Take the snapshots that count.

        Examples
        --------
        >>> lead, moment = np.array([3, 3, 3]), np.array([20, 10, 30])
        >>> rows = Evidence.of(lead, moment, np.array([0.2, 0.5, 0.6]), np.ones(3), np.array([1]))
        >>> rows.score.tolist()
        [0.5, 0.6]
        """
        order = np.lexsort((as_of_us, lead))
        rows = pd.DataFrame({"lead": lead[order], "score": score[order], "won": won[order]})
        before = rows.groupby("lead")["score"].cummax().groupby(rows["lead"]).shift()
        rows = rows[before.isna() | (rows["score"] > before)]
        return cls(
            rows["lead"].to_numpy(),
            rows["score"].to_numpy(),
            rows["won"].to_numpy(),
            leads_per_week,
        )

    @cached_property
    def best(self) -> Float64:
        """The best score that each lead ever reached, best first; -inf where it never had one."""
        return np.sort(handoff.best_scores(self.lead, self.score))[::-1]

    def crossed(self, threshold: float) -> tuple[int, int]:
        """Count the leads that ever reach a threshold and whose outcome is known, and the won."""
        above = self.score >= threshold
        first = np.unique(self.lead[above], return_index=True)[1]
        won = self.won[above][first]
        return int((~np.isnan(won)).sum()), int(np.nansum(won))

    def fix(self, stated: RuleChoice) -> Rule:
        """Fix the rule that is stated; the best fifth where none is."""
        return self._deprioritised(self._fixed(stated))

    def _deprioritised(self, rule: Rule) -> Rule:
        """Mark the bottom fifth where it surely wins less than half as often as all leads do.

        Surely is Clopper and Pearson's upper bound, 95 %. Without that evidence nothing is marked.
        """
        known, won = self.crossed(0.0)
        if not known or not won:
            return rule
        scored = self.best[self.best >= 0]
        edge = float(np.quantile(scored, BOTTOM_SHARE, method="higher"))
        edge = min(edge, rule.grades[2])
        above, won_above = self.crossed(edge)
        bottom, won_bottom = known - above, max(won - won_above, 0)
        if bottom <= 0:
            return rule
        at_most = float(beta.ppf(CONFIDENCE, won_bottom + 1, max(bottom - won_bottom, 1)))
        surely = at_most < won / known / 2
        return replace(rule, deprioritise_below=edge) if surely else rule

    def _fixed(self, stated: RuleChoice) -> Rule:
        if stated.kind == "precision" and stated.precision is not None:
            return handoff.precision_rule(
                self.best,
                self.crossed,
                stated.precision,
                confidence=stated.confidence,
                leads_per_week=self.leads_per_week,
                minimum_events=stated.min_events,
            )
        if stated.kind == "value" and stated.value is not None:
            return handoff.value_rule(
                self.best,
                value=stated.value,
                cost=stated.cost or 0.0,
                leads_per_week=self.leads_per_week,
                minimum_events=stated.min_events,
            )
        if stated.capacity_per_week is None:
            return handoff.best_fifth_rule(self.best, minimum_events=stated.min_events)
        return handoff.capacity_rule(
            self.best,
            self.leads_per_week,
            stated.capacity_per_week,
            minimum_events=stated.min_events,
        )

    def curve(self) -> list[dict[str, Any]]:
        """Tell what more hand-offs a week bring: share won among them, and wins.

        `one_more` is the share won of the leads that a point adds to the one before it: what one
        more lead a week brings there. Intervals are Clopper and Pearson's, 95 %.
        """
        scored = int((self.best >= 0).sum())
        if not scored:
            return []
        arriving = float(self.leads_per_week.mean())
        places = np.unique(np.linspace(1, scored, POINTS).round().astype(int))
        points = []
        before = (0, 0)
        for threshold in self.best[places - 1].tolist():
            per_week = arriving * float((self.best >= threshold).mean())
            won = self.won_share(threshold)
            known = self.crossed(threshold)
            points.append(
                {
                    "threshold": threshold,
                    "per_week": per_week,
                    "won_share": won,
                    "wins_per_week": {
                        name: None if bound is None else per_week * bound
                        for name, bound in won.items()
                    },
                    "one_more": _won_share(*_added(before, known)),
                }
            )
            before = known
        return points

    def won_share(self, threshold: float) -> dict[str, float | None]:
        """Return the share won among the leads that reach a threshold, with its interval."""
        return _won_share(*self.crossed(threshold))

    def won_just_below(self, threshold: float) -> dict[str, float | None]:
        """Return the share won of the leads that come next below a threshold.

        They are as many as one more lead a week makes here, at least `FEWEST_BELOW`; ties with the
        last of them count.
        """
        scored, handed = (int((self.best >= bound).sum()) for bound in (0.0, threshold))
        arriving = float(self.leads_per_week.mean()) if len(self.leads_per_week) else 0.0
        weeks = len(self.best) / arriving if arriving else 0.0
        last = min(handed + max(FEWEST_BELOW, round(weeks)), scored)
        lower = threshold if last <= handed else float(self.best[last - 1])
        return _won_share(*_added(self.crossed(threshold), self.crossed(lower)))

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        codes = np.unique(self.lead, return_inverse=True)[1]
        return {
            "lead": codes.tolist(),
            "score": [None if score < 0 else score for score in self.score.tolist()],
            "won": [None if np.isnan(won) else int(won) for won in self.won.tolist()],
            "leads_per_week": self.leads_per_week.tolist(),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> "Evidence":
        """Rebuild from `as_dict`."""
        return cls(
            np.array(plain["lead"], np.int64),
            np.array([-np.inf if score is None else score for score in plain["score"]], np.float64),
            np.array(plain["won"], np.float64),
            np.array(plain["leads_per_week"], np.int64),
        )


def _added(before: tuple[int, int], now: tuple[int, int]) -> tuple[int, int]:
    """Give the known and the won that a lower threshold adds.

    A lead that crosses earlier may be won too late to count, so the wins may even be fewer.
    """
    known = max(now[0] - before[0], 0)
    return known, min(max(now[1] - before[1], 0), known)


def _won_share(known: int, won: int) -> dict[str, float | None]:
    tail = (1 - CONFIDENCE) / 2
    return {
        "value": won / known if known else None,
        "low": float(beta.ppf(tail, won, known - won + 1)) if won else 0.0,
        "high": float(beta.ppf(1 - tail, won + 1, known - won)) if won < known else 1.0,
    }
