"""The model card: what the model is for, what it knows, and where not to trust it; in words."""

from collections.abc import Iterator
from typing import Any

from features.attributes import SENSITIVE
from training.shipping import Shipped
from training.study import Study

INTENDED = (
    "To choose, among open leads, which of them marketing hands to sales next, and in which order. "
    "People decide: sales accepts or rejects each hand-off before contact."
)
NOT_FOR = (
    "Leads of another kind than those in the tables, leads that sales already works, and any "
    "decision about a person beyond whether sales gets in touch (prices, credit, employment)."
)


def describe(study: Study, shipped: Shipped, report: dict[str, Any]) -> dict[str, Any]:
    """Give what the card says beyond the report's other parts."""
    spec = shipped.scorer.spec
    used = [a.name for a in spec.attributes if f"lead_{a.name}" in spec.names]
    return {
        "intended_use": INTENDED,
        "not_for": NOT_FOR,
        "won": _won(study),
        "features": {
            "count": len(spec.names),
            "attributes": used,
            "sensitive": [name for name in used if name.lower() in SENSITIVE],
            "left_out": [
                {"column": finding.column, "why": finding.rule.removeprefix("left_out_")}
                for finding in shipped.findings
                if finding.rule.startswith("left_out_")
            ]
            + [
                {"column": name, "why": "excluded in the configuration"}
                for name in study.config.features.exclude
            ],
        },
        "limits": list(_limits(study, report)),
    }


def _won(study: Study) -> str:
    if study.config.split.undated:
        return "An outcome 'won' in the outcomes table, at any time: the tables have no dates."
    return (
        f"An outcome 'won' within {study.horizon_days} days after the moment of judging. A lead "
        "without an outcome is open, not lost: it counts by how long it has been watched."
    )


def _limits(study: Study, report: dict[str, Any]) -> Iterator[str]:
    if not study.config.split.undated:
        yield (
            f"The figures see outcomes of leads judged until "
            f"{report['label']['evaluation_until'][:10]}; what changed after that is not in them."
        )
    yield (
        "Wins so far also depend on which leads sales worked. A lead that nobody called may look "
        "less likely to close than it was."
    )
    yield (
        "What goes with a win need not cause it: changing a value in the CRM changes the score, "
        "not the lead."
    )
    if report["weak"]:
        yield "There is too little history to judge the model: no figure can be relied on."
    if report["origins"]["kind"] == "hash":
        yield "It was not judged on later leads: how it holds over time is not known."
    if report["time_proxies"]["used"] and report["time_proxies"]["features"]:
        names = ", ".join(report["time_proxies"]["features"])
        yield f"It uses features that tell the date ({names}); they may mislead when times change."
    if small := report["segments"]["too_small"]:
        yield (
            f"{small:,} groups of leads were too small to be judged by themselves: the model may "
            "do worse there than the figures say."
        )
    if not report["groups"]["attributes"]:
        yield (
            "Nobody has named the groups to be watched for fairness: [report] groups in "
            "leadqual.toml does."
        )
