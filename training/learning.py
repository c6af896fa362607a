"""Learning: choose the recipe on earlier cuts, judge it on later leads, ship it fitted on everything; the report's content."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from joblib import Parallel, delayed

from features.contract import Finding
from features.history import DAY_US, Float32, Int64
from features.matrix import FeatureSpec, learn_spec, matrix
from training import baselines, calibration, evaluation, handoff, recipes
from training.calibration import Calibration
from training.config import Config
from training.crm import Crm
from training.handoff import Rule
from training.labels import DelayCurve, Labels, TooLittleHistory, delay_curve, labels, maturity_curve
from training.origins import Origin, Origins, Roles, lead_hash, origins, roles
from training.recipes import MIXES, Estimator, Recipe
from training.scorer import Card, LeadScorer
from training.snapshots import Grid, Snapshots, episodes, grid, headline, headline_age, take

STAGES = ("read", "snapshots", "choose the recipe", "judge it on later leads", "refit on everything", "save")
MOST_SNAPSHOTS_TO_JUDGE = 100_000
MOST_SNAPSHOTS_TO_FIT = 1_000_000
HEADLINE_AGE_DAYS = 7.0
PERCENTILE_STEPS = 1_000
LEADS_TO_FIX_A_RULE = 300
WEEKS_OF_ARRIVALS = 26

Float64 = npt.NDArray[np.float64]
Bool = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Learned:
    """What a training run gives: the scorer that is shipped, the report, and what was found in the tables."""

    scorer: LeadScorer
    report: dict[str, Any]
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Study:
    """What stays the same through a run: the snapshots, what is known of them now, and the cuts.

    Attributes
    ----------
    crm : Crm
    config : Config
    grid : Grid
    snapshots : Snapshots
        All of them; judged are those of `sampled` leads.
    at_until : Labels
        What is known of each snapshot at the end.
    headline_age : float
    headline : bool [r]
        One snapshot per lead.
    origins : Origins
    roles : Roles
    seed, threads : int
    """

    crm: Crm
    config: Config
    grid: Grid
    snapshots: Snapshots
    at_until: Labels
    headline_age: float
    headline: Bool
    origins: Origins
    roles: Roles
    seed: int
    threads: int

    @property
    def horizon_days(self) -> int:
        """The horizon."""
        return self.config.label.horizon_days

    @cached_property
    def arrivals(self) -> DelayCurve:
        """How wins arrive within the horizon."""
        return delay_curve(self.at_until.delay_days, self.at_until.follow_up_days)

    @property
    def choosing(self) -> tuple[Origin, ...]:
        """The cuts that choose."""
        return tuple(self.origins.cuts[k] for k in self.roles.choose)

    @property
    def judging(self) -> tuple[Origin, ...]:
        """The cuts that judge."""
        return tuple(self.origins.cuts[k] for k in self.roles.judge)


@dataclass(frozen=True)
class Fitted:
    """An estimator with the features it was fitted on."""

    spec: FeatureSpec
    estimator: Estimator
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class Scored:
    """Log-odds of snapshots by an estimator that never saw their leads; `row` says which snapshots."""

    row: Int64
    log_odds: Float64


def learn(
    crm: Crm,
    config: Config,
    *,
    seed: int = 0,
    allow_weak: bool = False,
    threads: int = 1,
    stage: Callable[[str], None] = lambda name: None,
) -> Learned:
    """Choose a recipe, judge it, and ship it fitted once more on everything known at ``crm.until_us``.

    Raises
    ------
    TooLittleHistory
        Nothing can be learned; or too little to judge, and not `allow_weak`.
    """
    clock = Stopwatch(stage)
    clock("snapshots")
    study = prepare(crm, config, seed=seed, threads=threads)
    if study.roles.weak and not allow_weak:
        raise TooLittleHistory(_too_weak(study))
    clock("choose the recipe")
    choice = choose(study)
    clock("judge it on later leads")
    judged = judge(study, choice)
    clock("refit on everything")
    fitted = fit(study, _everything(study), choice.recipe)
    shipped = ship(study, choice, judged, fitted)
    clock.stop()
    report = describe(study, choice, judged, shipped, clock.seconds)
    scorer = replace(shipped.scorer, card=_card(study, choice, report))
    return Learned(scorer, report, (*crm.findings, *fitted.findings))


class Stopwatch:
    """Announces stages and keeps their seconds."""

    def __init__(self, announce: Callable[[str], None]) -> None:
        self.seconds: dict[str, float] = {}
        self._announce = announce
        self._name, self._since = "", time.perf_counter()

    def __call__(self, name: str) -> None:
        """Start a stage, which ends the one before."""
        self.stop()
        self._name = name
        self._announce(name)

    def stop(self) -> None:
        """End the stage."""
        now = time.perf_counter()
        if self._name:
            self.seconds[self._name] = round(now - self._since, 3)
        self._name, self._since = "", now


def prepare(crm: Crm, config: Config, *, seed: int = 0, threads: int = 1) -> Study:
    """Take the snapshots, label them, and set the cuts."""
    horizon = config.label.horizon_days
    where = _grid(crm, config)
    open_ = _episodes(crm, config)
    snapshots = take(open_, crm.outcomes, where, crm.until_us, len(crm.leads))
    if not len(snapshots):
        raise TooLittleHistory(_no_snapshots(crm))
    snapshots = _of_some_leads(snapshots, crm, MOST_SNAPSHOTS_TO_FIT)
    at_until = labels(snapshots, horizon, crm.until_us, by_age=where.every_days is None)
    if not at_until.seen.any():
        raise TooLittleHistory(
            f"none of the {len(crm.leads)} leads is won within {horizon} days of a snapshot: there is nothing to learn; "
            "check the outcomes, or choose a longer horizon (horizon_days)"
        )
    judged = np.isin(snapshots.lead, _of_some_leads(snapshots, crm, MOST_SNAPSHOTS_TO_JUDGE).lead)
    found = origins(crm.leads.created_us, _hashes(crm), snapshots, horizon, crm.until_us)
    cuts = tuple(replace(cut, train=cut.train & judged, test=cut.test & judged) for cut in found.cuts)
    found = replace(found, cuts=tuple(cut for cut in cuts if _fittable(snapshots, cut, horizon, where)))
    age = headline_age(snapshots, HEADLINE_AGE_DAYS)
    first = headline(snapshots, age)
    part = roles(found, snapshots, at_until, first) if found.cuts else Roles((), (), 0, 0, weak=True)
    return Study(crm, config, where, snapshots, at_until, age, first, found, part, seed, threads)


@dataclass(frozen=True)
class Candidate:
    """A recipe's loss on the choosing cuts, with its interval."""

    recipe: Recipe
    log_loss: float
    low: float
    high: float


@dataclass(frozen=True)
class Choice:
    """The recipe that was chosen, and its out-of-time log-odds on the choosing cuts, one item a cut."""

    recipe: Recipe
    candidates: tuple[Candidate, ...]
    scored: tuple[Scored, ...]
    calibration: Calibration
    rule: Rule


def choose(study: Study) -> Choice:
    """Choose on the earlier cuts: the blend within two paired standard errors of the best, else the best."""
    tasks = [(cut, half_life) for cut in study.choosing for half_life in recipes.HALF_LIVES_DAYS]
    tried: dict[Recipe, list[Scored]] = {}
    for found in _in_parallel(study, _try_recipes, tasks):
        for recipe, scored_cut in found:
            tried.setdefault(recipe, []).append(scored_cut)
    if not tried:
        recipe = Recipe("blend")
        return Choice(recipe, (), (), Calibration(), fix_rule(study, (), Calibration()))
    loss = {recipe: _losses(study, scored) for recipe, scored in tried.items()}
    lead = study.snapshots.lead[np.concatenate([scored.row for scored in next(iter(tried.values()))])]
    recipe = _within_two_errors(loss, lead)
    scored = tuple(tried[recipe])
    fitted = calibrate(study, scored)
    return Choice(recipe, _candidates(loss, lead), scored, fitted, fix_rule(study, scored, fitted))


@dataclass(frozen=True)
class Judged:
    """Out-of-time probabilities on the judging cuts, of the chosen recipe and of the baselines, row for row."""

    scored: tuple[Scored, ...]
    row: Int64
    model: Float64
    baselines: dict[str, Float64]


def judge(study: Study, choice: Choice) -> Judged:
    """Fit the chosen recipe at the later cuts and score the leads after them, beside the baselines."""
    found = _in_parallel(study, _judge_cut, [(cut, choice.recipe) for cut in study.judging])
    scored, beside = [each[0] for each in found], [each[1] for each in found]
    rows = np.concatenate([s.row for s in scored]) if scored else np.empty(0, np.int64)
    log_odds = np.concatenate([s.log_odds for s in scored]) if scored else np.empty(0)
    names = beside[0] if beside else {}
    return Judged(
        tuple(scored),
        rows,
        choice.calibration.probability(log_odds),
        {name: np.concatenate([each[name] for each in beside]) for name in names},
    )


@dataclass(frozen=True)
class Shipped:
    """The scorer fitted on everything, and the share of recent leads it would hand off."""

    scorer: LeadScorer
    recent_share: float
    judged_share: float


def ship(study: Study, choice: Choice, judged: Judged, fitted: Fitted) -> Shipped:
    """Put the refit together with the calibration and the rule fixed again by the same methods on all cuts."""
    everything = (*choice.scored, *judged.scored)
    final = calibrate(study, everything)
    recent = judged.scored if _leads_with_time(study, judged.scored) >= LEADS_TO_FIX_A_RULE else everything
    refit = fitted.estimator
    own = Scored(np.arange(len(study.snapshots)), np.empty(0))
    if not everything:
        own = replace(own, log_odds=refit.log_odds(_matrix(study, fitted.spec, study.snapshots)))
        recent = everything = (own,)
    rule = fix_rule(study, recent, final)
    rows = np.concatenate([scored.row for scored in recent])
    now = _matrix(study, fitted.spec, study.snapshots.rows(rows))
    lead = study.snapshots.lead[rows]
    new = handoff.best_scores(lead, final.probability(refit.log_odds(now)))
    old = handoff.best_scores(lead, final.probability(np.concatenate([scored.log_odds for scored in recent])))
    scores = final.probability(np.concatenate([scored.log_odds for scored in everything]))
    steps = np.quantile(scores, np.linspace(0, 1, min(PERCENTILE_STEPS, len(scores))))
    reference = {"scores": steps.tolist(), "features": _histograms(fitted.spec, now)}
    empty = Card(study.horizon_days, _iso(study.crm.until_us), choice.recipe.name, {}, {}, {}, {})
    scorer = LeadScorer(fitted.spec, refit, final, rule, reference, empty)
    return Shipped(scorer, float((new >= rule.threshold).mean()), float((old >= rule.threshold).mean()))


def fit(study: Study, cut: Origin, recipe: Recipe) -> Fitted:
    """Fit a recipe on the training rows of a cut."""
    spec, findings = _spec(study, cut.cut_us)
    train = study.snapshots.rows(cut.train)
    learned = _labels(study, train, cut.cut_us)
    X = _matrix(study, spec, train)
    estimator = _fit(study, X, learned, train, cut.cut_us, recipe, spec, threads=study.threads)
    return Fitted(spec, estimator, findings)


def calibrate(study: Study, scored: Sequence[Scored]) -> Calibration:
    """Fit one calibration a cut on its matured rows, and shrink them by how much they disagree."""
    fits = []
    for cut in scored:
        matured = study.at_until.matured[cut.row]
        rows = cut.row[matured]
        fits.append(calibration.fit_cut(cut.log_odds[matured], study.at_until.won[rows]))
    return calibration.shrink(fits)


def fix_rule(study: Study, scored: Sequence[Scored], fitted: Calibration) -> Rule:
    """Fix the hand-off rule on the best score that each lead with enough time ever reached."""
    row = np.concatenate([cut.row for cut in scored]) if scored else np.empty(0, np.int64)
    log_odds = np.concatenate([cut.log_odds for cut in scored]) if scored else np.empty(0)
    timely = _had_time(study, row)
    kept = timely if timely.any() else np.ones(len(row), np.bool_)
    best = handoff.best_scores(study.snapshots.lead[row[kept]], fitted.probability(log_odds[kept]))
    capacity = study.config.rule.capacity_per_week
    if capacity is None:
        return handoff.best_fifth_rule(best)
    return handoff.capacity_rule(best, _arrivals_per_week(study), capacity)


def learning_table(crm: Crm, config: Config) -> pa.Table:
    """Give the snapshots with features, label, weight and follow-up as a table, for work outside."""
    study = prepare(crm, config)
    spec, _ = _spec(study, crm.until_us)
    rows, known = study.snapshots, study.at_until
    X = _matrix(study, spec, rows)
    table = pa.table(
        {
            "lead_id": crm.table["lead_id"].take(pa.array(rows.lead)),
            "as_of": pa.array(rows.as_of_us).cast(pa.timestamp("us", "UTC")),
            "age_days": rows.age_days,
            "known": known.known,
            "won": pa.array(known.won, mask=~known.known),
            "weight": known.weight,
            "follow_up_days": known.follow_up_days,
        }
    )
    for at, name in enumerate(spec.names):
        table = table.append_column(name, pa.array(X[:, at], from_pandas=True))
    return table


def describe(
    study: Study, choice: Choice, judged: Judged, shipped: Shipped, seconds: dict[str, float]
) -> dict[str, Any]:
    """Put everything that the report says into one plain mapping; NaN where a figure is not defined."""
    rule = shipped.scorer.rule
    report: dict[str, Any] = {
        "data": _describe_data(study),
        "label": _describe_label(study),
        "origins": _describe_origins(study),
        "rows": _describe_rows(study),
        "candidates": [
            {"name": c.recipe.name, "log_loss": c.log_loss, "ci": [c.low, c.high]} for c in choice.candidates
        ],
        "chosen": choice.recipe.name,
        "headline": f"one snapshot per lead, {study.headline_age:g} days old or more"
        if study.grid.every_days is None
        else "one calendar snapshot per lead",
        "calibration": asdict(shipped.scorer.calibration) | {"judged": asdict(choice.calibration)},
        "test": _describe_test(study, judged),
        "rule": {
            **rule.as_dict(),
            "judged": _replayed(study, choice, judged),
            "recent_share_refit": shipped.recent_share,
            "recent_share_judged": shipped.judged_share,
        },
        "leaks": [],
        "gate": {"passed": None, "checks": []},
        "weak": study.roles.weak,
        "seconds": seconds,
    }
    return {"summary": list(_summary(report)), **report}


def _summary(report: dict[str, Any]) -> Iterator[str]:
    """The sentences that a report opens with: what cannot be promised comes first."""
    rule, test = report["rule"], report["test"]
    if not rule["stated"]:
        yield (
            "No hand-off rule is stated, so the best fifth of the leads is handed off. To state what sales can work, "
            "write capacity_per_week = N under [rule] in leadqual.toml."
        )
    elif not rule["feasible"]:
        yield (
            f"The rule cannot be kept: with these data no threshold holds {rule['capacity_per_week']} leads a week "
            f"in {100 * rule['promise']['confidence']:.0f} % of the weeks; nothing is handed off."
        )
    else:
        yield (
            f"Rule: at most {rule['capacity_per_week']} new hand-offs a week in {100 * rule['promise']['confidence']:.0f} % "
            f"of the weeks; {rule['promise']['expected_per_week']:.1f} a week are expected."
        )
    if report["weak"]:
        yield (
            f"Too little history to judge: {report['origins']['wins_seen']} leads after the first cut were seen to win, "
            "30 are needed. No figure below can be promised, neither probabilities nor the share handed off."
        )
    elif not report["rows"]["test"]["won"]:
        yield "No win among the matured later leads: the figures below cannot be given."
    best = min(test["baselines"].items(), key=lambda item: _or_inf(item[1]["log_loss"]["value"]), default=None)
    if best and _or_inf(best[1]["log_loss"]["value"]) <= _or_inf(test["model"]["log_loss"]["value"]):
        yield f"The model is not better than the baseline {best[0]} (log loss on later leads)."
    low = test["model"]["auc"]["value"]
    if low is not None and low > 0.9:
        yield "An AUC above 0.9 on CRM data is almost always a leak: look for columns filled after the outcome."


def _or_inf(value: float | None) -> float:
    return np.inf if value is None or np.isnan(value) else value


def _describe_data(study: Study) -> dict[str, Any]:
    crm = study.crm
    return {
        "leads": len(crm.leads),
        "events": len(crm.leads.history.occurred_us),
        "outcomes": len(crm.outcomes.won),
        "won": int(crm.outcomes.won.sum()),
        "first_created": _iso(int(crm.leads.created_us.min())),
        "until": _iso(crm.until_us),
        "digest": crm.digest,
    }


def _describe_label(study: Study) -> dict[str, Any]:
    known, snapshots = study.at_until, study.snapshots
    return {
        "strategy": study.config.label.strategy,
        "horizon_days": study.horizon_days,
        "snapshots": len(snapshots),
        "grid": asdict(study.grid),
        "matured": int(known.matured.sum()),
        "known": int(known.known.sum()),
        "open": int((~known.known).sum()),
        "evaluation_until": _iso(study.crm.until_us - round(study.horizon_days * DAY_US)),
        "lost_is_open": known.lost_is_open,
        "reopened_share": known.reopened_share,
        "without_weight": known.without_matured,
        "maturity_curve": maturity_curve(study.arrivals, study.horizon_days),
    }


def _describe_origins(study: Study) -> dict[str, Any]:
    return {
        "kind": study.origins.kind,
        "reason": study.origins.reason,
        "wins_seen": study.roles.seen_wins,
        "cuts": [
            {
                "cut": _iso(cut.cut_us),
                "role": "choose" if at in study.roles.choose else "judge",
                "train": int(cut.train.sum()),
                "test": int(cut.test.sum()),
            }
            for at, cut in enumerate(study.origins.cuts)
        ],
    }


def _describe_rows(study: Study) -> dict[str, Any]:
    known = study.at_until
    tested = _any([cut.test for cut in study.judging], len(study.snapshots))
    chosen = _any([cut.test for cut in study.choosing], len(study.snapshots))
    masks = {
        "train": known.weight > 0,
        "calibrate": chosen & known.matured,
        "test": tested & known.matured & study.headline,
    }
    return {name: _count(study, mask) for name, mask in masks.items()}


def _count(study: Study, mask: Bool) -> dict[str, int]:
    lead = study.snapshots.lead
    return {
        "snapshots": int(mask.sum()),
        "leads": len(np.unique(lead[mask])),
        "won": len(np.unique(lead[mask & study.at_until.seen])),
    }


def _describe_test(study: Study, judged: Judged) -> dict[str, Any]:
    row = judged.row
    matured = study.at_until.matured[row]
    head = matured & study.headline[row]
    capacity = study.config.rule.capacity_per_week

    def figures(score: Float64, mask: Bool) -> dict[str, Any]:
        rows = row[mask]
        snapshots = study.snapshots.rows(rows)
        found = evaluation.figures(
            score[mask],
            study.at_until.won[rows],
            snapshots.lead,
            snapshots.as_of_us,
            seed=study.seed,
            capacity_per_week=capacity,
        )
        return found.as_dict()

    rows = row[matured]
    snapshots = study.snapshots.rows(rows)
    ages = evaluation.by_age(
        snapshots.age_days,
        judged.model[matured],
        study.at_until.won[rows],
        snapshots.lead,
        snapshots.as_of_us,
        seed=study.seed,
        capacity_per_week=capacity,
    )
    return {
        "model": figures(judged.model, head),
        "baselines": {name: figures(score, head) for name, score in judged.baselines.items()},
        "all_snapshots": figures(judged.model, matured),
        "by_age": [{**asdict(age), "figures": age.figures.as_dict()} for age in ages],
        "reliability": [
            asdict(b) for b in evaluation.reliability(judged.model[head], study.at_until.won[row[head]])
        ],
    }


def _replayed(study: Study, choice: Choice, judged: Judged) -> dict[str, Any]:
    """The rule as it was fixed on the choosing cuts, replayed over the weeks of the judging ones."""
    if not len(judged.row):
        return {}
    snapshots = study.snapshots.rows(judged.row)
    start = int(study.crm.leads.created_us[snapshots.lead].min())
    found = handoff.replay(
        snapshots.lead,
        snapshots.as_of_us,
        judged.model,
        choice.rule.threshold,
        start_us=start,
        end_us=study.crm.until_us,
        capacity_per_week=study.config.rule.capacity_per_week,
    )
    timely = _had_time(study, judged.row)
    best = handoff.best_scores(snapshots.lead[timely], judged.model[timely])
    return {
        "threshold": choice.rule.as_dict()["threshold"],
        "expected_share": choice.rule.expected_share,
        "share": float((best >= choice.rule.threshold).mean()) if len(best) else float("nan"),
        **{name: value for name, value in asdict(found).items() if name != "per_week"},
        "weeks": len(found.per_week),
        "per_week": found.per_week.tolist(),
    }


def _in_parallel(study: Study, task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Run one task per fit on threads: every fit is single-threaded, since LightGBM's threads wait for one another busily."""
    return Parallel(n_jobs=study.threads, prefer="threads")(delayed(task)(study, *each) for each in arguments)


def _try_recipes(study: Study, cut: Origin, half_life: float | None) -> list[tuple[Recipe, Scored]]:
    """The log-odds of every mix on the leads after a cut; both parts are fitted once."""
    row, test, train, spec, learned = _rows(study, cut)
    both = _fit(study, _matrix(study, spec, train), learned, train, cut.cut_us, Recipe("blend", half_life), spec)
    Z = _matrix(study, spec, test)
    return [(Recipe(mix, half_life), Scored(row, both.mixed(mix).log_odds(Z))) for mix in MIXES]


def _judge_cut(study: Study, cut: Origin, recipe: Recipe) -> tuple[Scored, dict[str, Float64]]:
    row, test, train, spec, learned = _rows(study, cut)
    X, Z = _matrix(study, spec, train), _matrix(study, spec, test)
    estimator = _fit(study, X, learned, train, cut.cut_us, recipe, spec)
    return Scored(row, estimator.log_odds(Z)), _baselines(study, spec, X, learned, Z, cut, row)


def _rows(study: Study, cut: Origin) -> tuple[Int64, Snapshots, Snapshots, FeatureSpec, Labels]:
    row = np.flatnonzero(cut.test)
    train = study.snapshots.rows(cut.train)
    spec, _ = _spec(study, cut.cut_us)
    return row, study.snapshots.rows(row), train, spec, _labels(study, train, cut.cut_us)


def _fit(
    study: Study,
    X: Float32,
    learned: Labels,
    train: Snapshots,
    cut_us: int,
    recipe: Recipe,
    spec: FeatureSpec,
    threads: int = 1,
) -> Estimator:
    weight = recipes.aged(learned.weight, train.as_of_us, cut_us, recipe.half_life_days)
    codes = [at for at, feature in enumerate(spec.features) if feature.category]
    both = recipes.fit(X, learned.won, weight, categorical=codes, seed=study.seed, threads=threads)
    return both.mixed(recipe.mix)


def _baselines(
    study: Study, spec: FeatureSpec, X: Float32, learned: Labels, Z: Float32, cut: Origin, row: Int64
) -> dict[str, Float64]:
    """Probabilities of the baselines for the leads after a cut, learned from the rows before it."""
    won, weight = learned.won, learned.weight
    at = {name: column for column, name in enumerate(spec.names)}
    codes = [column for column, feature in enumerate(spec.features) if feature.category]
    last = at.get("days_since_last_event")
    found = {"base_rate": baselines.base_rate(won, weight)(len(Z))}
    if last is not None:
        found["recency"] = baselines.recency(X[:, last], won, weight)(Z[:, last])
    kinds = [t for t in spec.types if {f"count_{t}_all", f"days_since_{t}"} <= at.keys()]
    counts, since = [at[f"count_{t}_all"] for t in kinds], [at[f"days_since_{t}"] for t in kinds]
    points = baselines.points(X[:, counts], X[:, since], kinds, won, weight)
    found["points"] = points(Z[:, counts], Z[:, since])
    found["odoo"] = _odoo(study, spec, cut, row)
    found["logistic"] = baselines.logistic(X, won, weight, codes)(Z)
    return found


def _odoo(study: Study, spec: FeatureSpec, cut: Origin, row: Int64) -> Float64:
    """Odoo's naive Bayes, from the leads closed by the cut."""
    from features.attributes import encode  # noqa: PLC0415

    chosen = [a for a in spec.attributes if a.kind == "category"]
    codes = encode(study.crm.leads.columns, chosen, len(study.crm.leads))
    codes = np.where(np.isnan(codes), -1, codes).astype(np.int64)
    outcomes = study.crm.outcomes
    trained = np.unique(study.snapshots.lead[cut.train])
    closed = (outcomes.known_us <= cut.cut_us) & np.isin(outcomes.lead, trained)
    predict = baselines.odoo(codes[outcomes.lead[closed]], outcomes.won[closed])
    return predict(codes[study.snapshots.lead[row]])


def _losses(study: Study, scored: Sequence[Scored]) -> Float64:
    row = np.concatenate([cut.row for cut in scored])
    probability = Calibration().probability(np.concatenate([cut.log_odds for cut in scored]))
    known = study.at_until
    arrived = study.arrivals.at(known.follow_up_days[row])
    return evaluation.choosing_loss(probability, known.seen[row], known.matured[row], arrived)


def _within_two_errors(loss: dict[Recipe, Float64], lead: Int64) -> Recipe:
    best = min(loss, key=lambda recipe: float(loss[recipe].mean()))
    blends = sorted((r for r in loss if r.mix == "blend"), key=lambda recipe: float(loss[recipe].mean()))
    for blend in blends:
        worse = evaluation.paired_difference(loss[blend], loss[best], lead)
        if not worse.value > 2 * worse.standard_error:
            return blend
    return best


def _candidates(loss: dict[Recipe, Float64], lead: Int64) -> tuple[Candidate, ...]:
    found = []
    for recipe, rows in loss.items():
        mean = evaluation.clustered_mean(rows, lead)
        margin = 1.96 * mean.standard_error
        found.append(Candidate(recipe, mean.value, mean.value - margin, mean.value + margin))
    return tuple(sorted(found, key=lambda candidate: candidate.log_loss))


def _grid(crm: Crm, config: Config) -> Grid:
    stated = config.snapshots
    if stated.ages_days is not None:
        return Grid(tuple(stated.ages_days), None, "stated in the configuration")
    if stated.every_days is not None:
        return Grid((), stated.every_days, "stated in the configuration")
    return grid(crm.leads.created_us, crm.until_us)


def _episodes(crm: Crm, config: Config) -> Any:
    sales_lead, sales_us = crm.of_types((*config.events.sales, *config.events.handoff))
    history = crm.leads.history
    return episodes(
        crm.leads.created_us,
        crm.outcomes,
        sales_lead=sales_lead,
        sales_us=sales_us,
        event_ptr=history.ptr,
        event_us=history.occurred_us,
    )


def _spec(study: Study, until_us: int) -> tuple[FeatureSpec, tuple[Finding, ...]]:
    wanted, events = study.config.features, study.config.events
    return learn_spec(
        study.crm.table,
        study.crm.leads.history,
        until_us=until_us,
        sales=(*events.sales, *events.handoff),
        exclude=wanted.exclude,
        sensitive=wanted.sensitive,
        windows_days=wanted.windows_days,
    )


def _matrix(study: Study, spec: FeatureSpec, snapshots: Snapshots) -> Float32:
    return matrix(spec, study.crm.leads, snapshots.lead, snapshots.as_of_us, threads=study.threads)


def _labels(study: Study, snapshots: Snapshots, known_us: int) -> Labels:
    return labels(snapshots, study.horizon_days, known_us, by_age=study.grid.every_days is None)


def _fittable(snapshots: Snapshots, cut: Origin, horizon_days: int, where: Grid) -> bool:
    """Whether a cut has rows of both kinds to learn from, and any to score."""
    if not cut.test.any():
        return False
    try:
        learned = labels(snapshots.rows(cut.train), horizon_days, cut.cut_us, by_age=where.every_days is None)
    except TooLittleHistory:
        return False
    return len(np.unique(learned.won[learned.weight > 0])) == 2  # noqa: PLR2004


def _everything(study: Study) -> Origin:
    rows = np.ones(len(study.snapshots), np.bool_)
    return Origin("all", study.crm.until_us, study.crm.until_us, train=rows, test=~rows)


def _of_some_leads(snapshots: Snapshots, crm: Crm, most: int) -> Snapshots:
    """All snapshots of as many leads as `most` rows allow, taken by a hash of their ids."""
    if len(snapshots) <= most:
        return snapshots
    share = most / len(snapshots)
    hashes = _hashes(crm)[snapshots.lead] // np.uint64(2**11)
    return snapshots.rows(hashes < share * 2.0**53)


def _hashes(crm: Crm) -> npt.NDArray[np.uint64]:
    return lead_hash(crm.table["lead_id"].to_pylist())


def _had_time(study: Study, row: Int64) -> Bool:
    """Whether a lead could have stood at every age by now."""
    longest = max(study.grid.ages_days, default=0.0) * DAY_US
    created = study.crm.leads.created_us[study.snapshots.lead[row]]
    return created + longest <= study.crm.until_us


def _leads_with_time(study: Study, scored: Sequence[Scored]) -> int:
    row = np.concatenate([cut.row for cut in scored]) if scored else np.empty(0, np.int64)
    return len(np.unique(study.snapshots.lead[row[_had_time(study, row)]]))


def _arrivals_per_week(study: Study) -> Int64:
    """Leads created in each of the last whole weeks."""
    ago = (study.crm.until_us - study.crm.leads.created_us) // (7 * DAY_US)
    weeks = int(min(WEEKS_OF_ARRIVALS, max(ago.max(), 1)))
    return np.bincount(ago[(ago >= 0) & (ago < weeks)], minlength=weeks)


def _histograms(spec: FeatureSpec, X: Float32) -> dict[str, Any]:
    """Quantile bins and counts of each feature, missing last: what monitoring compares with."""
    found = {}
    for at, name in enumerate(spec.names):
        present = X[~np.isnan(X[:, at]), at].astype(np.float64)
        inner = np.unique(np.quantile(present, np.linspace(0, 1, 11)[1:-1])) if len(present) else np.empty(0)
        counts = np.bincount(np.searchsorted(inner, present, "left"), minlength=len(inner) + 1)
        found[name] = {"edges": inner.tolist(), "counts": [*counts.tolist(), len(X) - len(present)]}
    return found


def _card(study: Study, choice: Choice, report: dict[str, Any]) -> Card:
    libraries = ("leadqual", "scikit-learn", "lightgbm", "numpy", "numba", "skops")
    return Card(
        horizon_days=study.horizon_days,
        trained_until=_iso(study.crm.until_us),
        recipe=choice.recipe.name,
        metrics=_without_nan(report["test"]["model"]),
        config=study.config.model_dump(mode="json"),
        data=report["data"],
        versions={name: version(name) for name in libraries},
    )


def _without_nan(figures: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {key: None if value is None or np.isnan(value) else value for key, value in figure.items()}
        for name, figure in figures.items()
    }


def _any(masks: Sequence[Bool], rows: int) -> Bool:
    return np.logical_or.reduce([np.zeros(rows, np.bool_), *masks])


def _iso(moment_us: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(moment_us))).isoformat()


def _too_weak(study: Study) -> str:
    return (
        f"too little history to judge a model: {study.roles.seen_wins} leads created after the first cut were seen to win, "
        "at least 30 are needed; export a longer history, or train with --allow-weak and promise nothing"
    )


def _no_snapshots(crm: Crm) -> str:
    return (
        f"no moment to learn from: none of the {len(crm.leads)} leads was open at any age by {_iso(crm.until_us)}; "
        "check created_at, closed_at and --until"
    )
