"""Choosing: every recipe is tried on the earlier cuts; they fix calibration and rule, too."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed

from features.contract import Finding
from features.history import Float32, Int64
from features.matrix import FeatureSpec
from training import calibration, evaluation, level, recipes
from training.calibration import Calibration
from training.evidence import Evidence
from training.handoff import Rule
from training.labels import Labels
from training.level import Young
from training.origins import FOLDS, Origin
from training.proxies import time_proxies
from training.recipes import MIXES, Estimator, Recipe
from training.study import Study

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """Log-odds of snapshots by an estimator that never saw their leads; `row` says of which.

    `newest` are the leads that were young when it learned, where their wins may tell its level.
    """

    row: Int64
    log_odds: Float64
    newest: Young | None = None


@dataclass(frozen=True)
class Candidate:
    """A recipe's loss on the choosing cuts, with its interval."""

    recipe: Recipe
    log_loss: float
    low: float
    high: float


@dataclass(frozen=True)
class Choice:
    """The recipe that was chosen, and its out-of-time log-odds, one item a choosing cut."""

    recipe: Recipe
    candidates: tuple[Candidate, ...]
    scored: tuple[Scored, ...]
    calibration: Calibration
    rule: Rule


def choose(study: Study) -> Choice:
    """Choose on the earlier cuts; the leads that judge are not looked at.

    Within two paired standard errors of the best recipe the best blend is taken, else the best.
    """
    vocabularies = in_parallel(study, vocabulary, [(cut,) for cut in study.choosing])
    tasks = [
        (cut, *setting, seen)
        for cut, seen in zip(study.choosing, vocabularies, strict=True)
        for setting in _settings(vocabularies)
    ]
    tried: dict[Recipe, list[Scored]] = {}
    for found in in_parallel(study, _try_recipes, tasks):
        for recipe, scored_cut in found:
            tried.setdefault(recipe, []).append(scored_cut)
    if not tried:
        recipe = Recipe("blend")
        return Choice(recipe, (), (), Calibration(), fix_rule(study, (), Calibration()))
    loss = {recipe: _losses(study, scored) for recipe, scored in tried.items()}
    cluster = study.cluster[study.snapshots.lead[joined(next(iter(tried.values()))).row]]
    recipe = _within_two_errors(loss, cluster)
    fitted = calibrate(study, tried[recipe])
    scored = tuple(
        replace(each, newest=held_out(study, cut, recipe, each.newest, fitted))
        for cut, each in zip(study.choosing, tried[recipe], strict=True)
    )
    return Choice(
        recipe, _candidates(loss, cluster), scored, fitted, fix_rule(study, scored, fitted)
    )


def joined(scored: Sequence[Scored]) -> Scored:
    """Put the rows of several cuts one after the other."""
    if not scored:
        return Scored(np.empty(0, np.int64), np.empty(0))
    return Scored(
        np.concatenate([cut.row for cut in scored]),
        np.concatenate([cut.log_odds for cut in scored]),
    )


def probability(scored: Sequence[Scored], fitted: Calibration) -> Float64:
    """Return calibrated probabilities of the rows of all cuts, each at its cut's own level."""
    found = [np.empty(0)]
    for cut in scored:
        shift = level.shift(cut.newest, fitted) if cut.newest else 0.0
        found.append(fitted.shifted(shift).probability(cut.log_odds))
    return np.concatenate(found)


def newest(study: Study, cut: Origin, rows: "TrainingRows", fitted: Estimator) -> Young:
    """Score the leads that are young at a cut by what was learned there, from them, too."""
    lead = study.snapshots.lead[cut.train]
    young = level.young_rows(rows.known, lead)
    log_odds = fitted.log_odds(rows.X[young])
    return Young.of(rows.known, young, study.cluster[lead[young]], log_odds)


def held_out(
    study: Study,
    cut: Origin,
    recipe: Recipe,
    learned: Young | None,
    fitted: Calibration,
    *,
    rows: "TrainingRows | None" = None,
) -> Young | None:
    """Score the young leads of a cut by what is learned from the others; None where nothing moved.

    `learned` are their scores by what was learned from them, too, and `fitted` is the calibration:
    mostly they tell that the level stands, and no more is fitted. `rows`, where they are at hand.
    """
    if learned is None or not level.suspected(learned, fitted):
        return None
    rows, lead = rows or training_rows(study, cut, recipe), study.snapshots.lead[cut.train]
    young, fold = level.young_rows(rows.known, lead), study.hashes[lead] // FOLDS % level.FOLDS
    log_odds = np.empty(len(lead))
    for k in range(level.FOLDS):
        others, these = rows.only(fold != k), young & (fold == k)
        if len(np.unique(others.known.won[others.known.weight > 0])) < 2:
            return None
        log_odds[these] = others.fit(recipe.mix, study.seed).log_odds(rows.X[these])
    return replace(learned, log_odds=log_odds[young])


def calibrate(study: Study, scored: Sequence[Scored]) -> Calibration:
    """Fit one calibration a cut on its matured rows, and shrink them by how much they disagree."""
    fits = []
    for cut in scored:
        matured = study.at_until.matured[cut.row]
        rows = cut.row[matured]
        fits.append(calibration.fit_cut(cut.log_odds[matured], study.at_until.won[rows]))
    return calibration.shrink(fits)


def fix_rule(study: Study, scored: Sequence[Scored], fitted: Calibration) -> Rule:
    """Fix the hand-off rule on the scores that leads with enough time ever reached."""
    return evidence(study, scored, fitted).fix(study.config.rule)


def evidence(study: Study, scored: Sequence[Scored], fitted: Calibration) -> Evidence:
    """Gather what a rule is fixed from: out-of-time scores, and what came of the leads."""
    row, score = joined(scored).row, probability(scored, fitted)
    timely = study.had_time(row)
    if timely.any():
        row, score = row[timely], score[timely]
    known, snapshots = study.at_until, study.snapshots
    return Evidence.of(
        snapshots.lead[row],
        snapshots.as_of_us[row],
        study.flaggable(row, score),
        np.where(known.matured[row], known.won[row], np.nan),
        study.arrivals_per_week(),
    )


def in_parallel(
    study: Study, task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]
) -> list[Any]:
    """Run one task per fit on threads; every fit is single-threaded (see `training.trees`)."""
    return Parallel(n_jobs=study.threads, prefer="threads")(
        delayed(task)(study, *each) for each in arguments
    )


@dataclass(frozen=True)
class TrainingRows:
    """The snapshots known at a cut as features and labels, and the feature spec learned there.

    `proxies` names the features from which the date could be told, in `X` or left out of it;
    `importance` is how much each row matters by its age, and `soft` whether open rows count by EM.
    """

    spec: FeatureSpec
    findings: tuple[Finding, ...]
    X: Float32
    known: Labels
    proxies: tuple[str, ...]
    importance: Float64
    soft: bool

    def only(self, chosen: npt.NDArray[np.bool_]) -> "TrainingRows":
        """Return some of the rows."""
        return replace(
            self,
            X=self.X[chosen],
            known=self.known.rows(chosen),
            importance=self.importance[chosen],
        )

    def fit(self, mix: str, seed: int, threads: int = 1) -> Estimator:
        """Fit both parts and mix them."""
        codes = [at for at, feature in enumerate(self.spec.features) if feature.category]
        both = recipes.fit(
            self.X,
            self.known.won,
            recipes.effective(self.known.weight),
            categorical=codes,
            seed=seed,
            threads=threads,
        )
        if self.soft:
            both = recipes.fit_softly(
                both,
                self.X,
                self.known,
                recipes.effective(self.importance),
                categorical=codes,
                seed=seed,
                threads=threads,
            )
        return both.mixed(mix)


@dataclass(frozen=True)
class Vocabulary:
    """What is learned of the features at a cut, whatever the recipe; `proxies` tell the date."""

    spec: FeatureSpec
    findings: tuple[Finding, ...]
    proxies: tuple[str, ...]


def vocabulary(study: Study, cut: Origin) -> Vocabulary:
    """Learn the feature spec at a cut, and find the features from which the date can be told."""
    spec, findings = study.spec(cut.cut_us)
    train = study.snapshots.rows(cut.train)
    first = train.rows(np.unique(train.lead, return_index=True)[1])
    X = study.matrix(spec, first)
    proxies = time_proxies(X, spec.names, first.lead, first.as_of_us, seed=study.seed)
    return Vocabulary(spec, findings, proxies)


def training_rows(
    study: Study, cut: Origin, recipe: Recipe, seen: Vocabulary | None = None
) -> TrainingRows:
    """Give what a recipe may see at a cut; `seen`, where it is known already."""
    seen = seen or vocabulary(study, cut)
    spec, proxies = seen.spec, seen.proxies
    train = study.snapshots.rows(cut.train)
    X, known = study.matrix(spec, train), study.labels(train, cut.cut_us, recipe.half_life_days)
    if proxies and not recipe.proxies:
        X = np.ascontiguousarray(X[:, [name not in proxies for name in spec.names]])
        spec = replace(spec, exclude=(*spec.exclude, *proxies))
    matters = recipes.importance(train.as_of_us, cut.cut_us, recipe.half_life_days)
    soft = study.config.label.strategy == "em"
    return TrainingRows(spec, seen.findings, X, known, proxies, matters, soft)


def _settings(vocabularies: Sequence[Vocabulary]) -> list[tuple[float | None, bool]]:
    """Half-lives, each with and without time proxies where the first cut has any."""
    if not any(seen.proxies for seen in vocabularies[:1]):
        return [(half_life, True) for half_life in recipes.HALF_LIVES_DAYS]
    return list(product(recipes.HALF_LIVES_WITH_PROXIES_DAYS, (True, False)))


def _try_recipes(
    study: Study, cut: Origin, half_life: float | None, proxies: bool, seen: Vocabulary
) -> list[tuple[Recipe, Scored]]:
    """Score the leads after a cut with every mix; both parts are fitted once."""
    tried = [Recipe(mix, half_life, proxies) for mix in MIXES]
    rows = training_rows(study, cut, tried[0], seen)
    both = rows.fit("blend", study.seed)
    row = np.flatnonzero(cut.test)
    Z = study.matrix(rows.spec, study.snapshots.rows(row))
    mixed = [(recipe, both.mixed(recipe.mix)) for recipe in tried]
    return [
        (recipe, Scored(row, each.log_odds(Z), newest(study, cut, rows, each)))
        for recipe, each in mixed
    ]


def _losses(study: Study, scored: Sequence[Scored]) -> Float64:
    every, known = joined(scored), study.at_until
    row, probability = every.row, Calibration().probability(every.log_odds)
    arrived = study.arrivals_to_choose.at(known.follow_up_days[row])
    return evaluation.choosing_loss(probability, known.seen[row], known.matured[row], arrived)


def _within_two_errors(loss: dict[Recipe, Float64], lead: Int64) -> Recipe:
    best = min(loss, key=lambda recipe: float(loss[recipe].mean()))
    blends = sorted(
        (r for r in loss if r.mix == "blend"), key=lambda recipe: float(loss[recipe].mean())
    )
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
