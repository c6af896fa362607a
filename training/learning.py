"""Learning: choose the recipe on earlier cuts, judge it on later leads, ship it fitted on all."""

import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from features.contract import Finding
from training import leaks
from training.choosing import choose
from training.config import Config
from training.crm import Crm
from training.judged_leads import JudgedLeads, judged_leads
from training.judging import judge
from training.labels import TooLittleHistory
from training.origins import WINS_TO_JUDGE
from training.promotion import absolute
from training.report import content, segments
from training.sampling import Taken, sample
from training.scorer import LeadScorer
from training.shipping import ship
from training.study import Study, study_of

STAGES = (
    "read",
    "snapshots",
    "look for leaks",
    "choose the recipe",
    "judge it on later leads",
    "refit on everything",
    "figures with their intervals",
    "save",
)


@dataclass(frozen=True)
class Learned:
    """What a training run gives: the scorer that is shipped, the report, findings, judged leads."""

    scorer: LeadScorer
    report: dict[str, Any]
    findings: tuple[Finding, ...]
    judged_leads: JudgedLeads


def learn(
    crm: Crm,
    config: Config,
    *,
    seed: int = 0,
    allow_weak: bool = False,
    threads: int = 1,
    memory: int | None = None,
    clock: "Stopwatch | None" = None,
) -> Learned:
    """Learn from a history that is in memory; see `learn_from`.

    Of a history that would take more than `memory` bytes, a share of the leads is taken, by default
    as many as have a million snapshots.
    """
    taken = sample(crm, config, memory)
    return learn_from(taken, config, seed=seed, allow_weak=allow_weak, threads=threads, clock=clock)


def learn_from(
    taken: Taken,
    config: Config,
    *,
    seed: int = 0,
    allow_weak: bool = False,
    threads: int = 1,
    clock: "Stopwatch | None" = None,
) -> Learned:
    """Choose a recipe, judge it, and ship it fitted once more on all that was taken.

    The stages are announced and timed by `clock`; their seconds stand in the report.

    Raises
    ------
    TooLittleHistory
        Nothing can be learned; or too little to judge, and not `allow_weak`.
    ConfigError
        ``report.groups`` or ``report.segments`` name a column that the leads table has not.
    GateRefused
        A column or an event type gives the outcome away, and nobody allowed it.
    """
    clock = clock or Stopwatch()
    segments.check(config.report, taken.crm.columns)
    clock("snapshots")
    study = study_of(taken, config, seed=seed, threads=threads)
    if study.roles.weak and not allow_weak:
        raise TooLittleHistory(_too_weak(study))
    clock("look for leaks")
    found = leaks.find(study)
    clock.stop()
    leaks.stop(found, dict(clock.seconds))
    # Here, since both are settings of the whole process. BLAS's threads wait for one another
    # busily, and where there are more of them they add up in another order.
    with threadpool_limits(1, user_api="blas"), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the last steps change nothing later
        return _learn(study, found, clock)


def _learn(study: Study, found: tuple[leaks.Leak, ...], clock: "Stopwatch") -> Learned:
    clock("choose the recipe")
    choice = choose(study)
    clock("judge it on later leads")
    judged = judge(study, choice)
    clock("refit on everything")
    shipped = ship(study, choice, judged.scored)
    clock("figures with their intervals")
    report = content.describe(study, choice, judged, shipped, found)
    report["shifts"] = [asdict(shift) for shift in shipped.shifts]
    clock.stop()
    report["seconds"] = dict(clock.seconds)
    scorer = replace(shipped.scorer, card=content.card(study, choice, report))
    kept = judged_leads(study, judged)
    checks = list(absolute(scorer, kept))
    report["gate"] = {
        "passed": all(check.passed for check in checks),
        "checks": [asdict(check) for check in checks],
    }
    return Learned(scorer, report, (*study.crm.findings, *shipped.findings, *shipped.shifts), kept)


class Stopwatch:
    """Announces stages and keeps their seconds."""

    def __init__(self, announce: Callable[[str], None] = lambda name: None) -> None:
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


def _too_weak(study: Study) -> str:
    return (
        f"too little history to judge a model: {study.roles.seen_wins} leads created after the "
        f"first cut were seen to win, at least {WINS_TO_JUDGE} are needed; export a longer "
        "history, or train with --allow-weak and promise nothing"
    )
