"""What each value of each feature went with among the judged leads; no causes, nothing drawn."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from features.attributes import Attribute
from features.catalogue import Feature, display_name, of_attribute
from features.history import Float32
from features.matrix import FeatureSpec
from training import evaluation
from training.report import levels
from training.report.levels import Levels
from training.report.sample import Sample

Float64 = npt.NDArray[np.float64]

MOST_FEATURES = 60
"""Attributes of the record stand beyond them, too."""
LEAST_LEADS = 10
"""Of a value, to be a group of its own."""


def insights(sample: Sample, X: Float32, spec: FeatureSpec) -> list[dict[str, Any]]:
    """Set the share won beside the mean score, by value of each feature, largest effects first.

    Parameters
    ----------
    sample : Sample
        Matured leads.
    X : float32 [leads, features]
        Those of `spec`, in its order.
    spec : FeatureSpec

    Returns
    -------
    list of dict
        ``feature``, ``concept``, ``english``, ``japanese``, ``attribute`` (None for engagement);
        ``effect``, the share of the uncertainty about who is won that the feature alone takes away
        (mutual information over entropy, less what chance gives); ``levels``, each with its
        ``level``, ``leads``, ``won``, ``share_won`` with an exact interval, and ``mean_score``.
    """
    if not len(sample) or not 0 < sample.won.sum() < len(sample):
        return []
    of_record = {of_attribute(attribute).name: attribute for attribute in spec.attributes}
    found = []
    for at, feature in enumerate(spec.features):
        attribute = of_record.get(feature.name)
        grouped = _levels(feature, attribute, X[:, at], spec)
        found.append(_insight(feature, attribute, grouped, sample))
    found = [each for each in found if len(each["levels"]) > 1 and each["effect"] > 0]
    found.sort(key=lambda each: (-each["effect"], each["feature"]))
    return [each for at, each in enumerate(found) if at < MOST_FEATURES or each["attribute"]]


def _insight(
    feature: Feature, attribute: Attribute | None, grouped: Levels, sample: Sample
) -> dict[str, Any]:
    count = _sum(grouped, np.ones(len(sample)))
    won, score = (_sum(grouped, values) for values in (sample.won, sample.score))
    return {
        "feature": feature.name,
        "concept": feature.concept,
        "english": feature.english,
        "japanese": feature.japanese,
        "unit": feature.unit,
        "attribute": attribute.name if attribute is not None else None,
        "effect": _effect(count, won),
        "levels": list(_rows(grouped, count, won, score)),
    }


def _rows(
    grouped: Levels, count: Float64, won: Float64, score: Float64
) -> Iterator[dict[str, Any]]:
    for k, level in enumerate(grouped.names):
        if count[k] >= LEAST_LEADS:
            yield {
                "level": level,
                "leads": int(count[k]),
                "won": int(won[k]),
                "share_won": evaluation.share(int(won[k]), int(count[k])).as_dict(),
                "mean_score": float(score[k] / count[k]),
            }


def _sum(grouped: Levels, values: Float64) -> Float64:
    found = np.zeros(len(grouped.names))
    np.add.at(found, grouped.code, values)
    return found


def _levels(
    feature: Feature, attribute: Attribute | None, values: Float32, spec: FeatureSpec
) -> Levels:
    if attribute is None and feature.category:
        return levels.of_codes(*_of_slots(feature.name, values, spec))
    if attribute is None or attribute.kind == "number":
        return levels.of_numbers(values)
    if attribute.kind == "category":
        return levels.of_codes(values, attribute.levels)
    return levels.of_codes(values + 1, ("no", "yes"))


def _of_slots(name: str, values: Float32, spec: FeatureSpec) -> tuple[Float32, tuple[str, ...]]:
    """Give first and last types and channels as an attribute's codes: every other one is 0."""
    names = spec.channels if name.endswith("channel") else spec.types
    codes = np.where(values >= len(names), np.float32(0), values + 1)
    return codes, tuple(display_name(kind)[0] for kind in names)


def _effect(count: Float64, won: Float64) -> float:
    """Return mutual information over entropy, less its expectation without any relation."""
    used = count > 0
    n, k = count[used], won[used]
    whole = _entropy(np.array([k.sum()]), np.array([n.sum()]))
    chance = (len(n) - 1) / 2
    return float((whole - _entropy(k, n) - chance) / whole)


def _entropy(won: Float64, count: Float64) -> float:
    p = won / count
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.nan_to_num(won * np.log(p)) + np.nan_to_num((count - won) * np.log1p(-p))
    return float(-terms.sum())
