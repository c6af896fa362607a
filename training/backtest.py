"""The back-test: past leads scored at past moments, and what came of them; nothing is fitted."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.history import DAY_US, Int64
from features.moments import from_us, iso, parse
from training import evaluation, handoff
from training.config import Config
from training.crm import Crm
from training.labels import TooLittleHistory
from training.sampling import all_snapshots
from training.scorer import RETRAIN, ArtifactError, LeadScorer
from training.snapshots import Snapshots, headline, headline_age
from training.study import HEADLINE_AGE_DAYS

BLOCK_ROWS = 100_000
EXAMPLES = 10
"""How many missed wins are named."""

Bool = npt.NDArray[np.bool_]
Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Past:
    """What the model would have said, and what came, row for row in order of lead and moment.

    Attributes
    ----------
    rows : Snapshots
    score : float64 [r]
        NaN where the model abstained.
    decision, grade : uint8 [r]
        Indices into ``handoff.DECISIONS`` and ``handoff.GRADES``.
    won : bool [r]
        A win within the horizon after the moment was known by the end.
    matured : bool [r]
        The whole horizon has passed by the end.
    """

    rows: Snapshots
    score: Float64
    decision: npt.NDArray[np.uint8]
    grade: npt.NDArray[np.uint8]
    won: Bool
    matured: Bool

    @property
    def handed(self) -> Float64:
        """1 where the model says hand off, else 0."""
        return (self.decision == handoff.HAND_OFF).astype(np.float64)

    @property
    def crossing(self) -> Int64:
        """The first row at which each lead is handed off, for those that ever are."""
        rows = np.flatnonzero(self.decision == handoff.HAND_OFF)
        return rows[np.unique(self.rows.lead[rows], return_index=True)[1]]


def look_back(scorer: LeadScorer, crm: Crm, config: Config) -> Past:
    """Score every lead at the moments that the configuration asks for, as it was known then.

    Suppressions are not looked at: they stand as they are today, and a lead is called a customer
    because it was won.

    Raises
    ------
    TooLittleHistory
        No lead was open at any moment.
    """
    rows = all_snapshots(crm, config)
    if not len(rows):
        raise TooLittleHistory(
            f"nothing to look back on: none of the {len(crm.leads)} leads was open at any age by "
            f"{iso(crm.until_us)}; check created_at, closed_at and --until"
        )
    blocks = [
        scorer.score(crm.leads.at(rows.lead[start : start + BLOCK_ROWS], moments), moments)
        for start in range(0, len(rows), BLOCK_ROWS)
        for moments in [rows.as_of_us[start : start + BLOCK_ROWS]]
    ]
    horizon_us = round(scorer.card.horizon_days * DAY_US)
    within = rows.win_us - rows.as_of_us <= horizon_us
    return Past(
        rows,
        np.concatenate([block.score for block in blocks]),
        np.concatenate([block.decision for block in blocks]),
        np.concatenate([block.grade for block in blocks]),
        won=within & (rows.win_known_us <= crm.until_us),
        matured=rows.as_of_us + horizon_us <= crm.until_us,
    )


def judge(
    past: Past,
    scorer: LeadScorer,
    crm: Crm,
    *,
    from_us: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Set decisions against what came, in all and apart for what the model may have learned from.

    Moments up to ``trained_until`` are in-sample. A lead is handed off once, at its first crossing,
    and counts where that lies; a won lead counts where the first moment within the horizon of
    its win lies. Scores and grades are
    judged at one moment per lead, as in training. Only moments whose whole horizon has passed are
    judged.

    Parameters
    ----------
    past : Past
    scorer : LeadScorer
    crm : Crm
    from_us : int, optional
        Earlier moments are not judged, but a lead handed off at one is not handed off again.
    seed : int
        Of the bootstrap.
    """
    moment, trained_until_us = past.rows.as_of_us, _trained_until_us(scorer)
    start = int(moment.min()) if from_us is None else from_us
    period = moment >= start
    if not period.any():
        raise TooLittleHistory(
            f"nothing to look back on after {iso(start)}: the last moment at which a lead was open "
            f"is {iso(int(moment.max()))}; choose an earlier --from"
        )
    masks = {
        "all": period,
        "before": period & (moment <= trained_until_us),
        "after": period & (moment > trained_until_us),
    }
    head, won_leads = _headline(past, period), _won_leads(past, period)
    capacity = scorer.rule.capacity_per_week
    parts = {
        name: _part(past, mask, head, won_leads, capacity=capacity, seed=seed)
        for name, mask in masks.items()
    }
    found: dict[str, Any] = {
        "model": scorer.label,
        "horizon_days": scorer.card.horizon_days,
        "trained_until": iso(trained_until_us),
        "from": iso(start),
        "until": iso(crm.until_us),
        "judged_until": iso(crm.until_us - round(scorer.card.horizon_days * DAY_US)),
        "digest": crm.digest,
        "rule": scorer.rule.as_dict(),
        "parts": parts,
        "shown": "after" if parts["after"]["leads_judged"] else "all",
        "by_month": list(_months(past, head, period, trained_until_us)),
        "per_week": _per_week(past, start, crm.until_us, capacity),
        "missed": _missed_examples(past, won_leads, crm),
    }
    return {"summary": list(_summary(found)), **found}


def _trained_until_us(scorer: LeadScorer) -> int:
    moment = parse(scorer.card.trained_until)
    if moment is None:
        raise ArtifactError(
            f"trained_until of the model is {scorer.card.trained_until!r}, no time: {RETRAIN}"
        )
    return moment


def _headline(past: Past, period: Bool) -> Bool:
    """One row per lead of the period, at the age at which training judges."""
    rows = past.rows.rows(period)
    head = np.zeros(len(period), np.bool_)
    head[np.flatnonzero(period)] = headline(rows, headline_age(rows, HEADLINE_AGE_DAYS))
    return head


def _part(
    past: Past, mask: Bool, head: Bool, won_leads: Int64, *, capacity: int | None, seed: int
) -> dict[str, Any]:
    """Judge the rows of one part."""
    rows = np.flatnonzero(mask & head & past.matured & ~np.isnan(past.score))
    score, won = past.score[rows], past.won[rows].astype(np.float64)
    figures = evaluation.figures(
        score, won, past.rows.lead[rows], past.rows.as_of_us[rows],
        seed=seed, capacity_per_week=capacity,
    )  # fmt: skip
    return {
        "moments": int(mask.sum()),
        "moments_matured": int((mask & past.matured).sum()),
        "moments_immature": int((mask & ~past.matured).sum()),
        "moments_abstained": int((mask & np.isnan(past.score)).sum()),
        "leads": len(np.unique(past.rows.lead[mask])),
        "leads_judged": len(rows),
        "hand_offs": _hand_offs(past, mask),
        "wins": _wins(past, won_leads[mask[won_leads]]),
        "figures": figures.as_dict(),
        "by_grade": [_grade(past, mask & head, k) for k in range(handoff.NO_GRADE)],
        "reliability": [asdict(each) for each in evaluation.reliability(score, won)],
    }


def _hand_offs(past: Past, mask: Bool) -> dict[str, Any]:
    """Count first crossings, and how many of the judged ones were won."""
    crossing = past.crossing[mask[past.crossing]]
    judged = crossing[past.matured[crossing]]
    won = int(past.won[judged].sum())
    return {
        "count": len(crossing),
        "judged": len(judged),
        "too_early_to_judge": len(crossing) - len(judged),
        "won": won,
        "precision": evaluation.share(won, len(judged)).as_dict(),
    }


def _won_leads(past: Past, period: Bool) -> Int64:
    """Give each won lead's first matured row after which a win came within the horizon."""
    rows = np.flatnonzero(period & past.matured & past.won)
    return rows[np.unique(past.rows.lead[rows], return_index=True)[1]]


def _wins(past: Past, won: Int64) -> dict[str, Any]:
    """Tell what became of won leads, each given by a row before its win."""
    caught, flagged = _flagged(past, won)
    return {
        "won_leads": len(won),
        "captured": int(caught.sum()),
        "flagged_too_early": int((flagged & ~caught).sum()),
        "missed": int((~flagged).sum()),
        "captured_share": evaluation.share(int(caught.sum()), len(won)).as_dict(),
        "missed_share": evaluation.share(int((~flagged).sum()), len(won)).as_dict(),
    }


def _flagged(past: Past, won: Int64) -> tuple[Bool, Bool]:
    """Of rows of won leads: handed off within the horizon before the win; and ever before it."""
    leads = int(past.rows.lead.max()) + 1
    crossing = np.full(leads, -1)
    crossing[past.rows.lead[past.crossing]] = past.crossing
    at = crossing[past.rows.lead[won]]
    before = (at >= 0) & (past.rows.as_of_us[at] < past.rows.win_us[won])
    return before & past.won[at], before


def _grade(past: Past, head: Bool, grade: int) -> dict[str, Any]:
    rows = np.flatnonzero(head & (past.grade == grade))
    judged = rows[past.matured[rows]]
    crossed = np.isin(past.rows.lead[judged], past.rows.lead[past.crossing])
    won = int(past.won[judged].sum())
    return {
        "grade": handoff.GRADES[grade],
        "leads": len(rows),
        "judged": len(judged),
        "handed_off": int(crossed.sum()),
        "won": won,
        "mean_score": float(past.score[judged].mean()) if len(judged) else float("nan"),
        "share_won": evaluation.share(won, len(judged)).as_dict(),
    }


def _months(past: Past, head: Bool, period: Bool, trained_us: int) -> Iterator[dict[str, Any]]:
    """Give each month its leads, by their one moment, and its hand-offs, by their first crossing.

    The month in which training ended stands twice, once on either side.
    """
    month = past.rows.as_of_us.astype("datetime64[us]").astype("datetime64[M]")
    seen = past.rows.as_of_us <= trained_us
    for each in np.unique(month[period]):
        for sample, side in (("in", seen), ("out", ~seen)):
            mask = period & side & (month == each)
            if mask.any():
                yield {"month": str(each), "sample": sample, **_month(past, mask, head)}


def _month(past: Past, mask: Bool, head: Bool) -> dict[str, Any]:
    rows = np.flatnonzero(mask & head)
    judged = rows[past.matured[rows] & ~np.isnan(past.score[rows])]
    won = int(past.won[judged].sum())
    return {
        "leads": len(rows),
        "judged": len(judged),
        "won": won,
        "mean_score": float(past.score[judged].mean()) if len(judged) else float("nan"),
        "share_won": evaluation.share(won, len(judged)).as_dict(),
        "hand_offs": _hand_offs(past, mask),
    }


def _per_week(past: Past, start_us: int, until_us: int, capacity: int | None) -> dict[str, Any]:
    found = handoff.replay(
        past.rows.lead, past.rows.as_of_us, past.handed, 1.0,
        start_us=start_us, end_us=until_us, capacity_per_week=capacity,
    )  # fmt: skip
    weeks, count = len(found.per_week), int(found.per_week.sum())
    leads = len(np.unique(past.rows.lead[past.rows.as_of_us >= start_us]))
    crossed = evaluation.share(count, leads)
    return {
        **asdict(found),
        "per_week": found.per_week.tolist(),
        "weeks": [from_us(start_us + k * handoff.WEEK_US).date().isoformat() for k in range(weeks)],
        "mean": {
            name: value and value * leads / weeks for name, value in crossed.as_dict().items()
        },
        "capacity_per_week": capacity,
    }


def _missed_examples(past: Past, won: Int64, crm: Crm) -> list[dict[str, Any]]:
    """Name the missed wins with the highest scores first: they were missed most narrowly."""
    missed = won[~_flagged(past, won)[1]]
    best = np.full(int(past.rows.lead.max()) + 1, -np.inf)
    np.fmax.at(best, past.rows.lead, past.score)
    reached = best[past.rows.lead[missed]]
    shown = np.lexsort((missed, -reached))[:EXAMPLES]
    ids = crm.table["lead_id"]
    return [
        {
            "lead_id": ids[int(past.rows.lead[row])].as_py(),
            "best_score": float(score),
            "won_at": iso(int(past.rows.win_us[row])),
        }
        for row, score in zip(missed[shown], reached[shown], strict=True)
    ]


def _summary(found: dict[str, Any]) -> Iterator[str]:
    """Give the sentences that the page opens with: what cannot be relied on comes first."""
    before, after, whole = (found["parts"][name] for name in ("before", "after", "all"))
    trained = found["trained_until"][:10]
    if before["moments"]:
        share = 100 * before["moments"] / whole["moments"]
        yield (
            f"In-sample: {before['moments']:,} of {whole['moments']:,} moments ({share:.0f} %) lie "
            f"before {trained}, until when the model learned. It may have learned from these very "
            "leads: figures marked “before” flatter it, only those marked “after” tell how it does "
            "on moments that it had not seen."
        )
    if not after["moments_matured"]:
        yield (
            f"Nothing that came after {trained} can be judged yet: a moment is judged once all "
            f"{found['horizon_days']} days after it have passed. Back-test again later, or train "
            "with an earlier --until and back-test that model."
        )
    seen = not after["moments_matured"]
    yield from _outcome(whole if seen else after, "in all, in-sample" if seen else "after")
    if whole["moments_immature"]:
        early = whole["hand_offs"]["too_early_to_judge"]
        yield (
            f"{whole['moments_immature']:,} moments are too recent to judge (after "
            f"{found['judged_until'][:10]}), {early:,} of the hand-offs among them; they are "
            "counted, not judged."
        )


def _outcome(part: dict[str, Any], where: str) -> Iterator[str]:
    handed, wins = part["hand_offs"], part["wins"]
    if handed["judged"]:
        yield (
            f"Of {handed['judged']:,} judged hand-offs ({where}) {handed['won']:,} were won: "
            f"{_percent(handed['precision'])}."
        )
    else:
        yield f"No hand-off can be judged ({where})."
    if wins["won_leads"]:
        yield (
            f"Of {wins['won_leads']:,} won leads ({where}) {wins['captured']:,} were handed off in "
            f"time, {_percent(wins['captured_share'])}; {wins['missed']:,} never were."
        )


def _percent(figure: dict[str, float | None]) -> str:
    value, low, high = (100 * (figure[key] or 0.0) for key in ("value", "low", "high"))
    return f"{value:.1f} % ({low:.1f} to {high:.1f} %)"
