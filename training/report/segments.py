"""Figures of the judged leads by month and by group of leads, the worst first; nothing is drawn."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from joblib import Parallel, delayed

from features.attributes import Attribute
from training import evaluation, promotion
from training.config import ConfigError, Report
from training.evaluation import NOTHING, Figure
from training.report import levels
from training.report.levels import Levels
from training.report.sample import Sample

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

LEAST_LEADS = 50
LEAST_OF_A_KIND = 10
"""Wins, and others, that a group needs for figures of the score."""
MOST_GROUPS = 60
DRAWS = 200


@dataclass(frozen=True)
class Group:
    """One group of judged leads.

    Attributes
    ----------
    attribute : str
    level : str or None
        None: the lead has no value.
    leads, matured, won : int
        Figures are of the matured leads, `handed_off` is of all.
    share_won, handed_off : Figure
        Exact intervals.
    found : Figure
        Of the won leads, the share handed off; exact interval.
    mean_score : float
    log_loss, auc, calibration_ratio : Figure
        NaN where the group is too small.
    skill : Figure
        1 - log loss / that of the group's own share won; 0 and below: the score tells nothing of
        who of the group is won, or is wrong about the group as a whole.
    """

    attribute: str
    level: str | None
    leads: int
    matured: int
    won: int
    share_won: Figure
    handed_off: Figure
    found: Figure
    mean_score: float
    log_loss: Figure = NOTHING
    auc: Figure = NOTHING
    calibration_ratio: Figure = NOTHING
    skill: Figure = NOTHING

    @property
    def large(self) -> bool:
        """Whether there are enough leads of both kinds for figures of the score."""
        both = min(self.won, self.matured - self.won)
        return self.matured >= LEAST_LEADS and both >= LEAST_OF_A_KIND


def check(wanted: Report, columns: Sequence[str]) -> None:
    """Refuse groups that the leads table has not.

    Raises
    ------
    ConfigError
    """
    for key in ("groups", "segments"):
        unknown = [name for name in getattr(wanted, key) if name not in columns]
        if unknown:
            raise ConfigError(
                f"report.{key} names {', '.join(unknown)}, which the leads table has not: its "
                f"columns are {', '.join(columns)}; name one of them, or drop it"
            )


def by_month(sample: Sample, seed: int) -> list[dict[str, Any]]:
    """Give the figures of each month of judging, in order; the newest may not have matured."""
    moments = sample.as_of_us.astype("datetime64[us]").astype("datetime64[M]")
    months = np.unique(moments)
    found = [_group("month", str(month), sample.rows(moments == month)) for month in months]
    masks = [moments == month for month in months]
    return [
        {"month": group.level, **asdict(_judged(group, sample.rows(mask), seed))}
        for group, mask in zip(found, masks, strict=True)
    ]


def segments(
    sample: Sample,
    records: pa.Table,
    attributes: Iterable[Attribute],
    wanted: Report,
    *,
    seed: int,
    threads: int = 1,
) -> dict[str, Any]:
    """Give the figures of every group of leads that one value of an attribute makes, worst first.

    Without `wanted` segments, by every category and boolean of at most 12 values.

    Parameters
    ----------
    sample : Sample
    records : pa.Table [leads of the sample]
        Their records as they stood at the moment of judging.
    attributes : of Attribute
        Those that are features.
    wanted : Report
    seed, threads : int

    Returns
    -------
    dict
        ``groups``, the large ones by `skill`; ``attributes`` looked at; ``left_out``, those of too
        many values; ``too_small``, how many groups were not judged; ``all``, every lead together.
    """
    known, said = _known(sample, records)
    names = list(wanted.segments or [a.name for a in attributes if a.kind != "number"])
    names = list(dict.fromkeys(name for name in names if name in records.column_names))
    grouped = {name: levels.of_column(said[name]) for name in names}
    fit = [n for n in names if grouped[n].distinct <= levels.MOST_LEVELS or wanted.segments]
    groups = [pair for name in fit for pair in _groups(name, grouped[name], known)]
    large = sorted((pair for pair in groups if pair[0].large), key=lambda pair: -pair[0].matured)[
        :MOST_GROUPS
    ]
    judged = Parallel(n_jobs=threads, prefer="threads")(
        delayed(_judged)(group, known.rows(mask), seed) for group, mask in large
    )
    every = _group("", None, known)
    return {
        "groups": [asdict(group) for group in sorted(judged, key=_worst_first)],
        "all": asdict(_judged(every, known, seed)),
        "attributes": fit,
        "left_out": [name for name in names if name not in fit],
        "too_small": len(groups) - len(large),
    }


def named(sample: Sample, records: pa.Table, wanted: Report, *, seed: int) -> dict[str, Any]:
    """Give the figures of the groups that the configuration names, small ones too, for fairness."""
    known, said = _known(sample, records)
    groups = [
        asdict(_judged(group, known.rows(mask), seed))
        for name in wanted.groups
        for group, mask in _groups(name, levels.of_column(said[name]), known)
    ]
    return {"attributes": list(wanted.groups), "groups": groups}


def _groups(name: str, found: Levels, sample: Sample) -> Iterator[tuple[Group, Bool]]:
    for code, level in enumerate(found.names):
        mask = found.code == code
        yield _group(name, level, sample.rows(mask)), mask


def _group(attribute: str, level: str | None, rows: Sample) -> Group:
    known = rows.matured
    won = known.won > 0
    return Group(
        attribute,
        level,
        leads=len(rows),
        matured=len(known),
        won=int(won.sum()),
        share_won=evaluation.share(int(won.sum()), len(known)),
        handed_off=evaluation.share(int(rows.handed.sum()), len(rows)),
        found=evaluation.share(int(known.handed[won].sum()), int(won.sum())),
        mean_score=float(known.score.mean()) if len(known) else float("nan"),
    )


def _judged(group: Group, rows: Sample, seed: int) -> Group:
    """Add the figures of the score, where the group is large enough."""
    if not group.large:
        return group
    known = rows.matured
    found = evaluation.figures(
        known.score, known.won, known.cluster, known.as_of_us, seed=seed, draws=DRAWS
    )
    return replace(
        group,
        log_loss=found.log_loss,
        auc=found.auc,
        calibration_ratio=found.calibration_ratio,
        skill=_skill(known, seed),
    )


def _skill(known: Sample, seed: int) -> Figure:
    loss = promotion.losses(known.score, known.won)

    def skill(weight: Float64) -> float:
        rows = weight.sum()
        p = float((weight * known.won).sum() / rows)
        own = -(p * math.log(p) + (1 - p) * math.log1p(-p)) if 0 < p < 1 else math.nan
        return 1 - float((weight * loss).sum() / rows) / own

    code = np.unique(known.cluster, return_inverse=True)[1]
    drawn = [skill(weight) for weight in evaluation.weights(code, DRAWS, seed)]
    tail = (1 - evaluation.LEVEL) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail]).tolist()
    return Figure(skill(np.ones(len(known))), low, high)


def _worst_first(group: Group) -> tuple[float, str, str]:
    return (group.skill.value, group.attribute, group.level or "")


def _known(sample: Sample, records: pa.Table) -> tuple[Sample, pa.Table]:
    return sample.matured, records.filter(pa.array(~np.isnan(sample.won)))
