"""Another hand-off rule on the same estimator; how a rule is fixed is not here."""

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from features.expected import expected
from features.findings import UsageError
from training.config import RuleChoice
from training.evidence import Evidence
from training.promotion import feasible
from training.report.outlook import outlook
from training.report.promise import promise
from training.scorer import RETRAIN, ArtifactError, LeadScorer

KIND_OF = {"capacity_per_week": "capacity", "precision": "precision", "value": "value"}


def stated(
    *,
    capacity: int | None,
    precision: float | None,
    confidence: float | None,
    value: float | None,
    cost: float | None,
) -> RuleChoice:
    """Return the rule that options state.

    Raises
    ------
    UsageError
        None is stated, several are, or one is stated in part or with a number that it cannot have.

    Examples
    --------
    >>> stated(capacity=5, precision=None, confidence=None, value=None, cost=None).kind
    'capacity'
    """
    options = {
        "capacity_per_week": capacity,
        "precision": precision,
        "confidence": confidence,
        "value": value,
        "cost": cost,
    }
    given = {name: option for name, option in options.items() if option is not None}
    kinds = [KIND_OF[name] for name in given if name in KIND_OF]
    if len(kinds) != 1 or ("confidence" in given and kinds != ["precision"]):
        raise UsageError(
            "state one rule: --capacity N, or --precision P (and --confidence C), or --value V "
            "and --cost C"
        )
    try:
        return RuleChoice.model_validate({"kind": kinds[0], **given})
    except ValidationError as error:
        found = error.errors()[0]
        where = ".".join(str(part) for part in found["loc"])
        own = found["type"] == "value_error"
        said = found["ctx"]["error"] if own else f"{expected(found)}, got {found['input']!r}"
        raise UsageError(f"--{KIND_OF.get(where, where) or kinds[0]}: {said}") from error


def ruled(scorer: LeadScorer, choice: RuleChoice) -> LeadScorer:
    """Return the scorer with another rule, fixed from the evidence that it carries.

    Raises
    ------
    ArtifactError
        It carries none: an earlier version trained it.
    """
    if "evidence" not in scorer.reference:
        raise ArtifactError(
            "this model does not carry the scores that a rule is fixed from: an earlier version "
            f"trained it; {RETRAIN}"
        )
    minimum = scorer.rule.minimum_events
    choice = choice.model_copy(update={"min_events": minimum})
    rule = Evidence.from_dict(scorer.reference["evidence"]).fix(choice)
    config = {**scorer.card.config, "rule": choice.model_dump(mode="json")}
    return replace(scorer, rule=rule, card=replace(scorer.card, config=config))


def report_with(folder: Path, scorer: LeadScorer) -> dict[str, Any] | None:
    """Return the report beside a model with its new rule; None where there is no report.

    What the old rule's replay gave, and the leads that it changed, are left out: they say nothing
    of this one.
    """
    path = folder / "report.json"
    if not path.is_file():
        return None
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    old, new = promise(report["rule"]), scorer.rule.as_dict()
    report["summary"] = [promise(new) if line == old else line for line in report["summary"]]
    kept = {name: report["rule"][name] for name in ("curve",) if name in report["rule"]}
    shares = dict.fromkeys(("recent_share_refit", "recent_share_judged"))
    report["rule"] = {**new, **kept, "judged": {}, **shares}
    if "checks" in report.get("gate", {}):
        found = asdict(feasible(scorer.rule))
        checks = [found if c["name"] == found["name"] else c for c in report["gate"]["checks"]]
        report["gate"] = {"passed": all(check["passed"] for check in checks), "checks": checks}
    if "outlook" in report:
        evidence = Evidence.from_dict(scorer.reference["evidence"])
        report["outlook"] = outlook(evidence, scorer.rule).as_dict()
        report["changes"] = {"share": None, "of_the_rule": False, "orders": []}
        report["gain"]["rule_share"] = None
        report["another_rule"] = True
    return report
