"""The gate: may a challenger become the champion? Checks and verdict; no alias moves here."""

import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from features.moments import iso
from training import registry
from training.config import Gate
from training.evaluation import Figure, paired_bootstrap
from training.gates import GateRefused
from training.handoff import DECISIONS, HAND_OFF, Rule

if TYPE_CHECKING:
    from training.judged_leads import JudgedLeads
    from training.scorer import LeadScorer

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]

EXAMPLES = 10
SMOKE = "smoke"
"""The one check that no force overrides: an artifact that cannot be opened is never served."""
_SMALLEST = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class Check:
    """One question of the gate, its answer, and what the answer rests on."""

    name: str
    passed: bool
    detail: str


@dataclass(frozen=True)
class Verdict:
    """What the gate says of a version.

    Attributes
    ----------
    name, version : str
    against : str or None
        The champion's version; None for the first promotion.
    checks : tuple of Check
    churn : dict
        Leads that change their decision, both ways, with examples.
    because : str or None
        Why it is promoted although a check failed.
    at : str
        ISO 8601, UTC.
    """

    name: str
    version: str
    against: str | None
    checks: tuple[Check, ...]
    churn: dict[str, Any]
    at: str
    because: str | None = None

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that failed."""
        return tuple(check for check in self.checks if not check.passed)

    @property
    def result(self) -> str:
        """``passed``, ``forced`` or ``refused``."""
        if not self.failed:
            return "passed"
        broken = any(check.name == SMOKE for check in self.failed)
        return "forced" if self.because and not broken else "refused"

    def as_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self) | {"passed": not self.failed, "result": self.result}


def promote(
    name: str, version: str | None, *, uri: str, because: str | None = None, now_us: int
) -> tuple[Verdict, registry.Version]:
    """Judge a version against the champion, keep the verdict, and move the alias if it may.

    Raises
    ------
    GateRefused
        A check failed, and there is no `because`; the verdict is kept all the same.
    RegistryError
        Also where the champion has changed since it was compared with.
    """
    found, champion = registry.standing(name, version, uri=uri)
    verdict = judge(name, found, champion, uri=uri, at=iso(now_us))
    verdict = replace(verdict, because=because if verdict.failed else None)
    registry.keep_verdict(name, found, verdict.as_dict(), uri=uri)
    if verdict.result == "refused":
        raise GateRefused(refusal(verdict), verdict.as_dict())
    note = {"at": verdict.at, "how": "promote", "result": verdict.result, "because": because or ""}
    moved = registry.promote(name, found, instead_of=champion, note=note, uri=uri)
    return verdict, moved


def refusal(verdict: Verdict) -> str:
    """Name every check that failed, and what can be done."""
    lines = "\n".join(f"  {check.name}: {check.detail}" for check in verdict.failed)
    broken = any(check.name == SMOKE for check in verdict.failed)
    mend = (
        "register the model again with `leadqual train --register`"
        if broken
        else "mend them, or promote with --force --because TEXT, which is kept with the version"
    )
    return (
        f"{verdict.name} version {verdict.version} is not promoted, "
        f"{len(verdict.failed)} of {len(verdict.checks)} checks failed\n{lines}\n{mend}"
    )


def judge(name: str, version: str, champion: str | None, *, uri: str, at: str) -> Verdict:
    """Ask all questions about a version; `champion` is the version it would replace."""
    from training.scorer import ArtifactError  # noqa: PLC0415  # it takes seconds

    against = None if champion == version else champion
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder)
        try:
            challenger = registry.open_model(f"models:/{name}/{version}", uri=uri, cache=cache)
        except ArtifactError as error:
            return Verdict(name, version, against, (Check(SMOKE, False, str(error)),), {}, at)
        kept = registry.judged_leads(name, version, cache, uri=uri)
        checks = [_smoke(challenger, kept), *absolute(challenger, kept)]
        if against is None:
            checks.append(_stated(challenger.rule))
            return Verdict(name, version, None, tuple(checks), {}, at)
        try:
            present = registry.open_model(f"models:/{name}/{against}", uri=uri, cache=cache)
        except ArtifactError as error:
            checks.append(Check("log_loss", False, f"the champion cannot be opened: {error}"))
            return Verdict(name, version, against, tuple(checks), {}, at)
        before = registry.judged_leads(name, against, cache, uri=uri)
    compared = list(comparison(challenger, kept, present, before))
    changed = {} if kept is None else churn(kept, challenger, present)
    return Verdict(name, version, against, (*checks, *compared), changed, at)


def absolute(scorer: "LeadScorer", kept: "JudgedLeads | None") -> Iterator[Check]:
    """Ask what a model must keep whether there is a champion or not."""
    gate = gate_of(scorer)
    yield feasible(scorer.rule)
    if kept is None:
        yield Check(
            "judged_leads", False, "no judged leads are kept with this version: register anew"
        )
        return
    told = ~np.isnan(kept.won)
    won, score = kept.won[told], kept.score[told]
    yield _calibrated(score, won, gate)
    yield _better(score, won, {key: p[told] for key, p in kept.baselines.items()})


def comparison(
    challenger: "LeadScorer",
    kept: "JudgedLeads | None",
    champion: "LeadScorer",
    before: "JudgedLeads | None",
) -> Iterator[Check]:
    """Set a challenger against the champion: schema, then log loss on the same rows."""
    schema = _schema(challenger, champion)
    yield _stated(challenger.rule, champion.rule)
    yield schema
    if challenger.card.horizon_days != champion.card.horizon_days:
        yield Check("log_loss", False, "not comparable: the two answer different questions")
    elif kept is not None:
        theirs = out_of_time(kept, champion, before)
        check = _non_inferior(kept.score, theirs, kept.won, gate_of(challenger))
        yield check if check is not None else _too_few(kept, theirs, champion, before, challenger)


def out_of_time(
    kept: "JudgedLeads", champion: "LeadScorer", before: "JudgedLeads | None"
) -> Float64:
    """Give the champion's scores of judged leads it cannot have learned from; NaN for the others.

    Leads created after ``trained_until`` the shipped champion has not seen; of those before, its
    recipe's own out-of-time score of the same lead at the same moment is taken, where it was kept.
    """
    stored: dict[tuple[str, int], float] = {}
    if before is not None:
        keys = zip(before.lead_id, before.as_of_us.tolist(), strict=True)
        stored = dict(zip(keys, before.score.tolist(), strict=True))
    keys = zip(kept.lead_id, kept.as_of_us.tolist(), strict=True)
    found = np.array([stored.get(key, np.nan) for key in keys], np.float64)
    until = np.datetime64(champion.card.trained_until.removesuffix("Z").removesuffix("+00:00"))
    later = kept.raw.created_us > until.astype("datetime64[us]").astype(np.int64)
    return np.where(later, champion.score(kept.raw, kept.as_of_us).score, found)


def churn(kept: "JudgedLeads", challenger: "LeadScorer", champion: "LeadScorer") -> dict[str, Any]:
    """Show which of the judged leads change their decision, both ways, with both scores."""
    now = challenger.score(kept.raw, kept.as_of_us)
    was = champion.score(kept.raw, kept.as_of_us)
    ids, moments = kept.lead_id, kept.as_of_us.tolist()
    handed, held = now.decision == HAND_OFF, was.decision == HAND_OFF

    def shown(rows: Bool) -> dict[str, Any]:
        largest = np.argsort(-np.abs(np.nan_to_num(now.score - was.score)), kind="stable")
        return {
            "leads": int(rows.sum()),
            "examples": [
                {
                    "lead_id": ids[k],
                    "as_of": iso(moments[k]),
                    "champion": {"score": _plain(was.score[k]), "decision": _word(was.decision[k])},
                    "challenger": {
                        "score": _plain(now.score[k]),
                        "decision": _word(now.decision[k]),
                    },
                }
                for k in largest[rows[largest]][:EXAMPLES].tolist()
            ],
        }

    return {
        "leads": len(kept),
        "handed_off_newly": shown(handed & ~held),
        "handed_off_no_more": shown(held & ~handed),
    }


def gate_of(scorer: "LeadScorer") -> Gate:
    """Return the limits that the model was trained with."""
    return Gate(**scorer.card.config.get("gate", {}))


def losses(score: Float64, won: Float64) -> Float64:
    """Return the log loss of each row."""
    p = np.clip(score, _SMALLEST, 1.0 - _SMALLEST)
    return -np.where(won > 0, np.log(p), np.log1p(-p))


def against_baselines(
    score: Float64, won: Float64, baselines: dict[str, Float64], seed: int = 0
) -> tuple[str, Figure]:
    """Return the best baseline, and the model's log loss less its own; below 0 is better."""
    own = losses(score, won)
    theirs = {name: losses(p, won) for name, p in baselines.items()}
    best = min(theirs, key=lambda name: float(theirs[name].mean()))
    return best, paired_bootstrap(own, theirs[best], np.arange(len(own)), seed=seed)


def _smoke(scorer: "LeadScorer", kept: "JudgedLeads | None") -> Check:
    if kept is None or not len(kept):
        return Check(SMOKE, True, "format, digests and canaries hold")
    scores = scorer.score(kept.raw, kept.as_of_us)
    wrong = np.isnan(scores.score) & (scores.decision <= 1)
    first = min(len(kept), 5)
    scorer.explain(kept.raw, kept.as_of_us, np.arange(first))
    return Check(
        SMOKE,
        not wrong.any(),
        f"format, digests and canaries hold; {len(kept)} judged leads scored, {first} explained",
    )


def _stated(rule: Rule, champion: Rule | None = None) -> Check:
    """Ask for a stated rule; only where the champion's was stated, one must be."""
    if rule.stated:
        return Check("rule_stated", True, rule.kind)
    mend = "nobody has stated a hand-off rule: write one under [rule] and retrain"
    if champion is None or not champion.stated:
        return Check("rule_stated", True, f"asked for, since {mend}, or use `leadqual rule`")
    return Check("rule_stated", False, f"the champion's rule is stated, but here {mend}")


def feasible(rule: Rule) -> Check:
    """Ask whether the rule hands off anything."""
    said = f"threshold {rule.threshold:.4f}, {100 * rule.expected_share:.1f} % of the leads"
    mend = "no threshold keeps the rule on this history, nothing would be handed off: state another"
    return Check("rule_feasible", rule.feasible, said if rule.feasible else mend)


def _calibrated(score: Float64, won: Float64, gate: Gate) -> Check:
    low, high = gate.calibration_ratio
    if not won.sum():
        return Check("calibration", False, "no win among the judged leads: it cannot be told")
    ratio = float(score.mean() / won.mean())
    said = f"mean score / share won is {ratio:.2f} on {len(won)} judged leads"
    return Check("calibration", low <= ratio <= high, f"{said}, allowed is {low:g} to {high:g}")


def _better(score: Float64, won: Float64, baselines: dict[str, Float64]) -> Check:
    if not won.sum() or not baselines:
        return Check("baselines", False, "no win or no baseline to be compared with")
    best, found = against_baselines(score, won, baselines)
    chance = found
    if "base_rate" in baselines:
        only = {"base_rate": baselines["base_rate"]}
        chance = against_baselines(score, won, only)[1]
    return Check(
        "baselines",
        found.value < 0 and chance.high < 0,
        f"log loss {_signed(found)} against the best baseline {best}, {_signed(chance)} against "
        "the base rate (below 0 is better; the interval against the base rate must lie below 0)",
    )


def _schema(challenger: "LeadScorer", champion: "LeadScorer") -> Check:
    lost = list(_incompatible(challenger, champion))
    said = "horizon, attributes and event types of the champion are known"
    return Check("schema", not lost, "; ".join(lost) or said)


def _incompatible(challenger: "LeadScorer", champion: "LeadScorer") -> Iterator[str]:
    now, was = challenger.card.horizon_days, champion.card.horizon_days
    if now != was:
        yield f"the horizon is {now} days, the champion's {was}: give such a model its own name"
    if challenger.card.undated != champion.card.undated:
        yield "one of the two learned from tables without dates"
    kinds = {a.name: a.kind for a in challenger.spec.attributes}
    for a in champion.spec.attributes:
        if kinds.get(a.name, a.kind) != a.kind:
            yield f"attribute {a.name} is a {kinds[a.name]}, for the champion a {a.kind}"
    parts = (
        ("attributes", {a.name for a in champion.spec.attributes}, set(kinds)),
        ("event types", set(champion.spec.types), set(challenger.spec.types)),
        ("channels", set(champion.spec.channels), set(challenger.spec.channels)),
    )
    for what, known, ours in parts:
        if known - ours:
            yield f"{what} that only the champion knows: {', '.join(sorted(known - ours)[:5])}"


def _non_inferior(ours: Float64, theirs: Float64, won: Float64, gate: Gate) -> Check | None:
    """Compare log losses on the rows that all three know; None where those are too few."""
    rows = ~(np.isnan(ours) | np.isnan(theirs) | np.isnan(won))
    leads, wins = int(rows.sum()), int(won[rows].sum())
    if leads < gate.least_leads or wins < gate.least_wins:
        return None
    own, other = (losses(score[rows], won[rows]) for score in (ours, theirs))
    found = paired_bootstrap(own, other, np.arange(leads), seed=0)
    return Check(
        "log_loss",
        found.high < gate.log_loss_margin,
        f"{_signed(found)} against the champion on {leads} leads with {wins} wins "
        f"(its upper end must be below the margin {gate.log_loss_margin:g})",
    )


def _too_few(
    kept: "JudgedLeads",
    theirs: Float64,
    champion: "LeadScorer",
    before: "JudgedLeads | None",
    challenger: "LeadScorer",
) -> Check:
    """Say why two versions cannot be compared, which never counts as passed, and what helps."""
    gate, both = gate_of(challenger), ~np.isnan(theirs)
    told = both & ~np.isnan(kept.won)
    until = champion.card.trained_until
    lacking = "" if before is not None else ", with which no judged leads are kept"
    return Check(
        "log_loss",
        False,
        f"only {told.sum()} leads with {int(kept.won[told].sum())} wins can be compared, "
        f"{gate.least_leads} and {gate.least_wins} are needed: of the {len(kept)} judged leads "
        f"of the challenger {both.sum()} have a score at the same moment by the champion{lacking} "
        f"that it had not learned from, and of {told.sum()} of them the outcome is known; judge "
        "both at the same ages ([snapshots] ages_days) on exports of one CRM, or wait until leads "
        f"created after {until} have had their horizon",
    )


def _signed(found: Figure) -> str:
    return f"{found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})"


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _word(code: int) -> str:
    return DECISIONS[code]
