"""The leak gate: a training run stops before there is a model, unless a named person lets pass."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np

from features.attributes import Attribute
from features.catalogue import of_attribute
from features.matrix import FeatureSpec
from training.config import ConfigError, Leaks
from training.gates import GateRefused
from training.separation import Split, numbers
from training.study import Study
from training.suspects import EVENT_KINDS, MOST_LEADS, Evidence, Suspect, suspects

FEATURE_AUC = 0.9


@dataclass(frozen=True)
class Leak:
    """A suspect and what is done about it.

    Attributes
    ----------
    column, kind, evidence, why, mend : str
        As in `Suspect`; kind ``declared`` where the configuration says so.
    action : "refused" or "allowed"
    name, reason : str
        Who allowed it and why; empty where refused.
    """

    column: str
    kind: str
    evidence: str
    why: str
    mend: str
    action: Literal["refused", "allowed"] = "refused"
    name: str = ""
    reason: str = ""

    def __str__(self) -> str:
        return f"{self.column}: {self.kind}: {self.evidence}. Why: {self.why}. Mend: {self.mend}"

    def as_dict(self) -> dict[str, str]:
        """Return plain JSON values."""
        return asdict(self)


def find(study: Study) -> tuple[Leak, ...]:
    """Look for leaks in what a run would learn from.

    Columns that are no features anyway (excluded, ids, times, free text) are not looked at; nor are
    events at or after the close, which no snapshot sees.

    Raises
    ------
    ConfigError
        ``leaks.as_of_now`` names a column that the leads table has not.
    """
    settings = study.config.leaks
    _check_columns(settings, study.crm.columns)
    spec, _ = study.spec(study.crm.until_us)
    used = tuple(a for a in spec.attributes if a.name not in spec.exclude)
    sales = (*study.config.events.sales, *study.config.events.handoff)
    found = (*_declared(used, settings), *suspects(Evidence(study.crm, used, sales)))
    if not any(suspect.kind in EVENT_KINDS for suspect in found):  # else it is in many features
        found = (*found, *_features(study, spec))
    first = {suspect.column: suspect for suspect in reversed(found)}
    return tuple(judge(tuple(first.values())[::-1], settings))


def judge(found: Iterable[Suspect], settings: Leaks) -> Iterable[Leak]:
    """Refuse suspects, but for those that somebody allowed."""
    allowed = {allow.column: allow for allow in settings.allow}
    for suspect in found:
        leak = Leak(**asdict(suspect))
        if suspect.column in allowed:
            by = allowed[suspect.column]
            leak = replace(leak, action="allowed", name=by.name, reason=by.reason)
        yield leak


def stop(leaks: tuple[Leak, ...], seconds: dict[str, float]) -> None:
    """Stop a run with leaks that nobody allowed.

    Raises
    ------
    GateRefused
    """
    refused = [leak for leak in leaks if leak.action == "refused"]
    if not refused:
        return
    message = (
        f"the leak gate refuses to learn from {len(refused)} column(s) or event type(s):\n"
        + "\n".join(f"  {leak}" for leak in refused)
        + "\nwhoever knows better allows one in leadqual.toml: "
        '[leaks] allow = [{column = "…", name = "who", reason = "why"}]'
    )
    checks = [{"name": f"leak: {leak.column}", "passed": False} for leak in refused]
    report = {
        "summary": [message],
        "leaks": [leak.as_dict() for leak in leaks],
        "gate": {"passed": False, "checks": checks},
        "seconds": seconds,
    }
    raise GateRefused(message, report)


def _declared(used: tuple[Attribute, ...], settings: Leaks) -> list[Suspect]:
    return [
        Suspect(
            attribute.name,
            "declared",
            "[leaks] as_of_now names it",
            "its value is that of the export, not of the moment of scoring",
            f'add "{attribute.name}" to [features] exclude, or export its value at created_at',
        )
        for attribute in used
        if attribute.name in settings.as_of_now
    ]


def _features(study: Study, spec: FeatureSpec) -> Iterator[Suspect]:
    """Find features of the engagement that alone tell who will win within the horizon."""
    known = np.flatnonzero(study.headline & study.at_until.known)
    known = known[np.argsort(study.snapshots.as_of_us[known], kind="stable")]
    known = known[:: max(-(-len(known) // MOST_LEADS), 1)]
    split = Split.of(study.at_until.won[known] > 0, np.arange(len(known)))
    of_record = {of_attribute(attribute).name for attribute in spec.attributes}
    matrix = study.matrix(spec, study.snapshots.rows(known))
    for at, name in enumerate(spec.names):
        if name in of_record:
            continue
        auc = split.auc(numbers(matrix[:, at], split.fit))
        if auc.low >= FEATURE_AUC:
            yield Suspect(
                name,
                "too_good",
                f"alone it tells who is won among other leads with an AUC of {auc.value:.3f} (at "
                f"least {auc.low:.3f}, bar {FEATURE_AUC})",
                "no single thing that a lead does is that sure: it was written after the outcome",
                f'leave the events behind it out, or add "{name}" to [features] exclude',
            )


def _check_columns(settings: Leaks, columns: Sequence[str]) -> None:
    unknown = [name for name in settings.as_of_now if name not in columns]
    if unknown:
        raise ConfigError(
            f"leaks.as_of_now names {', '.join(unknown)}, which the leads table has not: its "
            f"columns are {', '.join(columns)}"
        )
