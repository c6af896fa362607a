"""What the best leads hold of the wins, and which leads another order would pick; no rule."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from features.history import Int64
from training import evaluation
from training.evaluation import Figure
from training.report.sample import Sample

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

SHARES = np.linspace(0, 1, 41)
DRAWS = 200
EXAMPLES = 5


@dataclass(frozen=True)
class Gain:
    """The share of the wins among the best leads, by the share of the leads that they are."""

    shares: list[float]
    value: list[float]
    low: list[float]
    high: list[float]


def gain(score: Float64, won: Float64, cluster: Int64, *, seed: int, draws: int = DRAWS) -> Gain:
    """Return the gain curve with its 95 % interval; straight within equal scores.

    It is empty without wins.

    Parameters
    ----------
    score, won : float64 [leads]
    cluster : int64 [leads]
        Drawn as wholes.
    seed, draws : int

    Examples
    --------
    >>> found = gain(np.array([0.9, 0.8, 0.2, 0.1]), np.array([1.0, 0, 0, 0]), np.arange(4), seed=0)
    >>> dict(zip(found.shares, found.value))[0.25]
    1.0
    """
    if not won.sum():
        return Gain([], [], [], [])
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)
    code = np.unique(cluster[order], return_inverse=True)[1]
    value = _captured(np.ones(len(score)), won[order], ends)
    drawn = np.array(
        [_captured(weight, won[order], ends) for weight in evaluation.weights(code, draws, seed)]
    )
    tail = (1 - evaluation.LEVEL) / 2
    low, high = np.nanquantile(drawn, [tail, 1 - tail], axis=0)
    return Gain(SHARES.tolist(), value.tolist(), low.tolist(), high.tolist())


def _captured(weight: Float64, won: Float64, ends: npt.NDArray[np.intp]) -> Float64:
    rows, wins = np.cumsum(weight)[ends], np.cumsum(weight * won)[ends]
    if not wins[-1]:
        return np.full(len(SHARES), np.nan)
    at = np.append(0.0, rows) / rows[-1]
    return np.interp(SHARES, at, np.append(0.0, wins) / wins[-1])


def tells(score: Float64, share: float) -> bool:
    """Tell whether an order itself picks most of the best leads, rather than chance among equals.

    Examples
    --------
    >>> tells(np.array([0.9, 0.8, 0.1, 0.1]), 0.5), tells(np.array([0.9, 0.1, 0.1, 0.1]), 0.75)
    (True, False)
    """
    count = round(share * len(score))
    if not count:
        return False
    bar = np.sort(score)[-count]
    surely = (score > bar).sum() if (score == bar).sum() > 1 else count
    return bool(surely >= count / 2)


def exchange(
    sample: Sample,
    others: Mapping[str, Float64],
    *,
    ids: list[str],
    hashes: npt.NDArray[np.uint64],
    share: float,
    seed: int,
) -> list[dict[str, Any]]:
    """Hand off the same number of leads by the model and by other orders, and see who changes.

    Parameters
    ----------
    sample : Sample
        Matured leads.
    others : mapping of name to float64 [leads]
        Scores of other ways to pick leads.
    ids : list of str
    hashes : uint64 [leads]
        Break ties, so that they do not follow the outcome.
    share : float
        Of the leads, to be handed off.
    seed : int

    Returns
    -------
    list of dict
        One an order: ``against``; ``leads``; ``handed_off``; ``chance_won`` and
        ``chance_share_won``, of as many leads picked blindly; ``won``, ``share_won`` and
        ``captured`` (share of all wins) of ``model`` and ``other``; ``more_won``, how many wins
        more, with its interval; ``newly`` and ``no_more``, the leads that change, each with
        ``leads``, ``won`` and ``examples``, the most sure first.
    """
    count = round(share * len(sample))
    if not count:
        return []
    ours = _best(sample.score, hashes, count)
    found = []
    for name, score in others.items():
        theirs = _best(score, hashes, count)
        gap = evaluation.paired_bootstrap(
            ours * sample.won, theirs * sample.won, sample.cluster, seed=seed
        )
        in_order = np.lexsort((hashes, -sample.score))
        found.append(
            {
                "against": name,
                "leads": len(sample),
                "handed_off": count,
                "chance_won": count * float(sample.won.mean()),
                "chance_share_won": float(sample.won.mean()),
                "model": _picked(ours, sample.won),
                "other": _picked(theirs, sample.won),
                "more_won": asdict(
                    Figure(*(len(sample) * bound for bound in (gap.value, gap.low, gap.high)))
                ),
                "newly": _changed(ours & ~theirs, in_order, sample, ids),
                "no_more": _changed(theirs & ~ours, in_order[::-1], sample, ids),
            }
        )
    return found


def _best(score: Float64, hashes: npt.NDArray[np.uint64], count: int) -> Bool:
    picked = np.zeros(len(score), np.bool_)
    picked[np.lexsort((hashes, -score))[:count]] = True
    return picked


def _picked(picked: Bool, won: Float64) -> dict[str, Any]:
    wins, all_wins = int(won[picked].sum()), int(won.sum())
    return {
        "won": wins,
        "share_won": asdict(evaluation.share(wins, int(picked.sum()))),
        "captured": asdict(evaluation.share(wins, all_wins)),
    }


def _changed(
    changed: Bool, in_order: npt.NDArray[np.intp], sample: Sample, ids: list[str]
) -> dict[str, Any]:
    return {
        "leads": int(changed.sum()),
        "won": int(sample.won[changed].sum()),
        "examples": [
            {"lead_id": ids[k], "score": float(sample.score[k]), "won": bool(sample.won[k])}
            for k in in_order[changed[in_order]][:EXAMPLES].tolist()
        ],
    }
