"""LeadScorer: from a lead's history to its score and decision; and the artifact that holds it."""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from lightgbm.basic import LightGBMError

from features import matrix as feature_matrix
from features.history import DAY_US, Int64, from_rows
from features.matrix import FeatureSpec, Leads
from features.profile import Profile
from training import handoff, reasons, scorecard_file
from training.calibration import Calibration
from training.forest import ForestError
from training.handoff import DECISIONS as DECISIONS
from training.handoff import GRADES as GRADES
from training.handoff import Rule
from training.handoff import apply_capacity as apply_capacity
from training.reasons import Reason
from training.recipes import Estimator
from training.scorecard import Scorecard
from training.trees import Trees

FORMAT = 1
MANIFEST = "manifest.json"
FILES = ("estimator.skops", "trees.txt", "reference.json")
CANARIES, CANARY_TOLERANCE = 5, 1e-9
RETRAIN = "retrain with `leadqual train`, or use the version of leadqual that trained it"

WHYS = (
    "score_reaches_threshold",
    "score_below_threshold",
    "not_created",
    "too_little_history",
    "over_capacity",
    "deprioritise",
    "kept_within_margin",
)
OBJECTED = "objected"
"""The suppression after which a lead is not even scored."""

Float64 = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint8]


class ArtifactError(RuntimeError):
    """An artifact that must not be used: the message says what is wrong and what to do next."""


@dataclass(frozen=True)
class Scores:
    """Decisions about r rows, in their order.

    Attributes
    ----------
    score : float64 [r]
        Probability of a win within the horizon; NaN where the lead is not scored.
    percentile : float64 [r]
        Share (0 to 100) of the leads the model was calibrated on that score no higher; NaN with the
        score.
    grade : uint8 [r]
        Index into ``handoff.GRADES``.
    decision : uint8 [r]
        Index into ``handoff.DECISIONS``.
    why : uint8 or larger [r]
        Index into `whys`.
    whys : tuple of str
        `WHYS`, then the suppressions that occur.
    """

    score: Float64
    percentile: Float64
    grade: Codes
    decision: Codes
    why: npt.NDArray[np.integer]
    whys: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.score)

    def within_capacity(
        self, lead_id: pa.ChunkedArray, capacity: int
    ) -> tuple["Scores", npt.NDArray[np.int64]]:
        """Nurture the hand-offs beyond the capacity; also return every row's rank, 0 for none."""
        rank, over = handoff.apply_capacity(self.score, lead_id, self.decision, capacity)
        decision, why = self.decision.copy(), self.why.copy()
        decision[over], why[over] = handoff.NURTURE, WHYS.index("over_capacity")
        return replace(self, decision=decision, why=why), rank


@dataclass(frozen=True)
class Card:
    """What is known of a model beside its fitted parts, for the manifest and for whoever asks.

    Attributes
    ----------
    horizon_days : int
    trained_until : str
        ISO 8601, UTC: the moment up to which it learned.
    recipe : str
    metrics, config, data, versions : dict
        Figures with intervals, the configuration, rows and digest of the tables, versions of the
        libraries.
    leaks : list of dict
        What looked like the outcome and was let pass: column, kind, evidence, who and why.
    """

    horizon_days: int
    trained_until: str
    recipe: str
    metrics: dict[str, Any]
    config: dict[str, Any]
    data: dict[str, Any]
    versions: dict[str, str]
    leaks: list[dict[str, str]] = field(default_factory=list)

    @property
    def undated(self) -> bool:
        """Whether it learned from tables without dates."""
        return bool(self.config.get("split", {}).get("undated", False))


@dataclass(frozen=True)
class LeadScorer:
    """A fitted model with its features, calibration and hand-off rule.

    Attributes
    ----------
    spec : FeatureSpec
    estimator : Estimator
    calibration : Calibration
    rule : Rule
    reference : dict
        ``scores``: sorted out-of-time scores that percentiles refer to; ``features``: histograms
        for monitoring; ``week_to_week``: by how much log-odds move in a week without events;
        ``attributes``: how each looked on the leads it learned from; ``evidence``:
        what rules are fixed from.
    card : Card
    name, version : str
        As the registry calls it.
    digest : str
        SHA-256 of the manifest, which holds those of the other files; empty before it is saved.
    """

    spec: FeatureSpec
    estimator: Estimator
    calibration: Calibration
    rule: Rule
    reference: dict[str, Any]
    card: Card
    name: str = "leadqual"
    version: str = "local"
    digest: str = ""

    @property
    def label(self) -> str:
        """Name, version and digest in one text."""
        return f"{self.name}/{self.version} sha256:{self.digest}"

    @cached_property
    def profiles(self) -> tuple[Profile, ...]:
        """How each attribute that it uses looked on the leads it learned from."""
        return tuple(Profile(**plain) for plain in self.reference.get("attributes", ()))

    def score(
        self,
        leads: Leads,
        as_of_us: Int64,
        *,
        suppress: Sequence[str | None] | None = None,
    ) -> Scores:
        """Score every lead at its moment and decide about it; see `judge`."""
        return self.judge(self.matrix(leads, as_of_us), leads, as_of_us, suppress=suppress)

    def judge(
        self,
        X: npt.NDArray[np.float32],
        leads: Leads,
        as_of_us: Int64,
        *,
        suppress: Sequence[str | None] | None = None,
        flagged: npt.NDArray[np.bool_] | None = None,
        margin: float = 0.0,
    ) -> Scores:
        """Score leads whose features are computed already, and decide about them.

        Parameters
        ----------
        X : float32 [len(leads), features]
            As `matrix` gives it.
        leads : Leads
        as_of_us : int64 [len(leads)]
        suppress : sequence of str or None [len(leads)]
            Why a lead is never flagged; `OBJECTED` also keeps it from being scored.
        flagged : bool [len(leads)], optional
            Leads that are flagged: they stay so until they fall by `margin` log-odds below the
            threshold.
        margin : float

        Returns
        -------
        Scores
            One row a lead, in order.
        """
        score = self.probability(X)
        abstained = list(self._abstained(leads, as_of_us, X))
        held, reason, whys = _suppressions(suppress)
        for rows, _ in abstained:
            score[rows] = np.nan
        if OBJECTED in whys:
            score[reason == whys.index(OBJECTED)] = np.nan
        decision, grade = handoff.decide(self.rule, score, suppressed=held)
        why = decision.astype(np.int32)  # `WHYS` begins as `handoff.DECISIONS` does
        why[score < self.rule.deprioritise_below] = WHYS.index("deprioritise")
        if flagged is not None:
            kept = handoff.steadied(self.rule, score, decision, flagged, margin)
            decision[kept], why[kept] = handoff.HAND_OFF, WHYS.index("kept_within_margin")
        for rows, name in abstained:
            why[rows] = WHYS.index(name)
        if held is not None:
            why[held] = reason[held]
        return Scores(score, self._percentile(score), grade, decision, why, whys)

    def matrix(self, leads: Leads, as_of_us: Int64) -> npt.NDArray[np.float32]:
        """Compute the feature matrix of every lead at its moment."""
        return feature_matrix.matrix(self.spec, leads, np.arange(len(leads)), as_of_us)

    def probability(self, X: npt.NDArray[np.float32]) -> Float64:
        """Turn rows of features into calibrated probabilities."""
        return self.calibration.probability(self.estimator.log_odds(X))

    def explain(
        self,
        leads: Leads,
        as_of_us: Int64,
        rows: npt.NDArray[np.integer],
        language: str = "en",
        *,
        X: npt.NDArray[np.float32] | None = None,
    ) -> list[tuple[Reason, ...]]:
        """Give the reasons for some rows: what each concept adds to the calibrated log-odds.

        Parameters
        ----------
        leads, as_of_us
            As for `score`.
        rows : int [k]
            The rows to explain.
        language : "en" or "ja"
            Another language falls back to English.
        X : float32 [k, features], optional
            Of these rows, where it is computed already.
        """
        if leads.changes:
            leads, as_of_us = leads.at(rows, as_of_us[rows]), as_of_us[rows]
            rows = np.arange(len(leads))
        if X is None:
            X = feature_matrix.matrix(self.spec, leads, rows, as_of_us[rows])
        added = self.calibration.slope * self.estimator.contributions(X)
        return reasons.reasons(self.spec, X, added, leads, rows, as_of_us[rows], language)

    def save(self, folder: Path) -> "LeadScorer":
        """Write the artifact, whole or not at all, and return the scorer with its digest.

        An artifact that lies in the folder already is replaced; other files there are left alone.
        """
        folder.parent.mkdir(parents=True, exist_ok=True)
        staged = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
        try:
            digest = self._write(staged)
            _replace(staged, folder)
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        return replace(self, digest=digest)

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        expect_digest: str | None = None,
        name: str = "leadqual",
        version: str = "local",
    ) -> "LeadScorer":
        """Open an artifact.

        Its format, digests and types are checked, and its canaries scored again, before it is
        returned.

        Raises
        ------
        ArtifactError
            What is wrong, and what to do.
        """
        raw = _read(folder, MANIFEST)
        digest = hashlib.sha256(raw).hexdigest()
        if expect_digest and digest != expect_digest.removeprefix("sha256:").lower():
            raise ArtifactError(
                f"{folder} has the digest {digest}, expected {expect_digest}: it is another model "
                "than the pinned one; score with the model that was pinned, or pin this one after "
                "checking where it comes from"
            )
        manifest = _parse(raw, folder)
        parts = {name: _checked(folder, name, manifest["files"]) for name in FILES}
        try:
            scorer = cls(
                FeatureSpec.from_dict(manifest["spec"]),
                Estimator(_scorecard(folder, parts), _trees(folder, parts), tuple(manifest["mix"])),
                Calibration(**manifest["calibration"]),
                Rule.from_dict(manifest["rule"]),
                json.loads(parts["reference.json"]),
                Card(**manifest["card"]),
                name,
                version,
                digest,
            )
            scorer._check_features(folder, manifest["features"])
            scorer._check_reference()
            scorer._check_canaries(folder, manifest["canaries"])
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ArtifactError(
                f"{folder / MANIFEST} lacks or misnames something ({error!r}): retrain with "
                "`leadqual train`"
            ) from error
        return scorer

    def _write(self, folder: Path) -> str:
        (folder / "estimator.skops").write_bytes(scorecard_file.dumps(self.estimator.scorecard))
        (folder / "trees.txt").write_text(self.estimator.trees.to_text(), encoding="utf-8")
        (folder / "reference.json").write_text(_json(self.reference), encoding="utf-8")
        manifest = {
            "format": FORMAT,
            "files": {
                name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES
            },
            "spec": self.spec.to_dict(),
            "features": list(self.spec.names),
            "mix": list(self.estimator.mix),
            "calibration": asdict(self.calibration),
            "rule": self.rule.as_dict(),
            "card": asdict(self.card),
            "canaries": self._canary_scores(_canaries(self.spec)),
        }
        text = _json(manifest)
        (folder / MANIFEST).write_text(text, encoding="utf-8")
        return hashlib.sha256(text.encode()).hexdigest()

    def _canary_scores(self, canaries: list[dict[str, Any]]) -> list[dict[str, Any]]:
        leads, as_of = _canary_leads(canaries)
        score = self.probability(self.matrix(leads, as_of))
        return [
            {**canary, "score": float(value)} for canary, value in zip(canaries, score, strict=True)
        ]

    def _check_features(self, folder: Path, saved: Sequence[str]) -> None:
        trees, card = self.estimator.trees.booster.num_feature(), self.estimator.scorecard.width
        ours = self.spec.names
        if tuple(saved) != ours or not trees == card == len(ours):
            other = ", ".join(sorted({*saved} ^ {*ours})[:3]) or "none"
            raise ArtifactError(
                f"{folder} was saved with {len(saved)} features, its trees know {trees} and its "
                f"scorecard {card}; this code computes {len(ours)} (only on one side: {other}): "
                f"{RETRAIN}"
            )

    def _check_reference(self) -> None:
        if not len(self._reference_scores):
            raise ValueError("no scores that percentiles could refer to")
        if not {one.name for one in self.profiles} <= {one.name for one in self.spec.attributes}:
            raise ValueError("profiles of attributes that are none")

    def _check_canaries(self, folder: Path, canaries: list[dict[str, Any]]) -> None:
        if len(canaries) != CANARIES:
            raise ArtifactError(f"{folder} has no {CANARIES} canary leads to check it: {RETRAIN}")
        for was, now in zip(canaries, self._canary_scores(canaries), strict=True):
            if not abs(was["score"] - now["score"]) <= CANARY_TOLERANCE:
                raise ArtifactError(
                    f"{folder} scores its canary lead {was['lead_id']} {now['score']:.12f}, it was "
                    f"saved with {was['score']:.12f}: this code computes another model than was "
                    f"trained; {RETRAIN}"
                )

    def _abstained(
        self, leads: Leads, as_of_us: Int64, X: npt.NDArray[np.float32]
    ) -> Iterator[tuple[npt.NDArray[np.bool_], str]]:
        """Give the rows that have no score, with why; the last word counts."""
        if self.rule.minimum_events:
            yield self._events(leads, as_of_us, X) < self.rule.minimum_events, "too_little_history"
        unborn = as_of_us < leads.created_us
        if unborn.any():
            yield unborn, "not_created"

    def _events(
        self, leads: Leads, as_of_us: Int64, X: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.float32]:
        if "events_all" in self.spec.names:
            return X[:, self.spec.names.index("events_all")]
        rows = np.arange(len(leads))
        return feature_matrix.event_counts(self.spec.sales, leads, rows, as_of_us)

    def _percentile(self, score: Float64) -> Float64:
        known = self._reference_scores
        place = 100.0 * known.searchsorted(score, "right") / len(known)
        return np.where(np.isnan(score), np.nan, place)

    @cached_property
    def _reference_scores(self) -> Float64:
        return np.asarray(self.reference["scores"], np.float64)


def _suppressions(
    suppress: Sequence[str | None] | None,
) -> tuple[npt.NDArray[np.bool_] | None, npt.NDArray[np.int32], tuple[str, ...]]:
    """Give the rows that are suppressed, None for none, and why: indices into `WHYS` and more."""
    if suppress is None:
        return None, np.empty(0, np.int32), WHYS
    whys = (*WHYS, *sorted({reason for reason in suppress if reason} - set(WHYS)))
    place = {reason: code for code, reason in enumerate(whys)}
    held = np.array([bool(reason) for reason in suppress], np.bool_)
    return held, np.array([place[reason] if reason else 0 for reason in suppress], np.int32), whys


def _json(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, indent=1, sort_keys=True, allow_nan=False) + "\n"


def _replace(staged: Path, folder: Path) -> None:
    """Move a finished artifact into place; the manifest comes last: a torn one never loads."""
    folder.mkdir(exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    for name in (*FILES, MANIFEST):
        (staged / name).replace(folder / name)


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        raise ArtifactError(
            f"{folder / name} cannot be read ({error.strerror}): --model must name a folder that "
            "`leadqual train` wrote"
        ) from error


def _parse(raw: bytes, folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(raw)
        known, files = manifest["format"], manifest["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(
            f"{folder / MANIFEST} is no manifest: copy the artifact again, or retrain"
        ) from error
    if known != FORMAT or not isinstance(files, dict):
        raise ArtifactError(
            f"{folder} has the format {known!r}, this version reads {FORMAT}: retrain with "
            "`leadqual train`, or use the version of leadqual that wrote it"
        )
    return manifest


def _checked(folder: Path, name: str, digests: Mapping[str, str]) -> bytes:
    content = _read(folder, name)
    digest = hashlib.sha256(content).hexdigest()
    if digest != digests.get(name):
        raise ArtifactError(
            f"{folder / name} has the digest {digest[:12]}…, the manifest says "
            f"{str(digests.get(name))[:12]}…: the file is corrupt or was changed; copy the "
            "artifact again, or retrain with `leadqual train`"
        )
    return content


def _scorecard(folder: Path, parts: Mapping[str, bytes]) -> Scorecard:
    try:
        return scorecard_file.loads(parts["estimator.skops"])
    except ValueError as error:
        raise ArtifactError(
            f"{folder / 'estimator.skops'} {error}; find out where it comes from, copy it again or "
            "retrain with `leadqual train`"
        ) from error


def _trees(folder: Path, parts: Mapping[str, bytes]) -> Trees:
    try:
        return Trees.from_text(parts["trees.txt"].decode())
    except (LightGBMError, ForestError, UnicodeDecodeError) as error:
        raise ArtifactError(
            f"{folder / 'trees.txt'} is no LightGBM model: copy it again, or retrain"
        ) from error


def _canaries(spec: FeatureSpec) -> list[dict[str, Any]]:
    """Five synthetic leads that between them touch every type, channel and attribute."""
    created, as_of = 1_700_000_000_000_000, 1_700_000_000_000_000 + 40 * DAY_US
    types, channels = (*spec.types, "unheard-of"), (*spec.channels, None)
    return [
        {
            "lead_id": f"canary-{k}",
            "created_us": created,
            "as_of_us": as_of,
            "events": [
                [
                    as_of - (i * 7 + k) * DAY_US // 5,
                    types[(i * k) % len(types)],
                    channels[i % len(channels)],
                    i * 1.5,
                ]
                for i in range(8 * k)
            ],
            "attributes": {a.name: _canary_value(a.levels, k) for a in spec.attributes if k},
        }
        for k in range(CANARIES)
    ]


def _canary_value(levels: Sequence[str], k: int) -> str | float:
    return levels[k % len(levels)] if levels else float(k % 2)


def _canary_leads(canaries: list[dict[str, Any]]) -> tuple[Leads, Int64]:
    rows = [
        [(time, time, kind, channel, value) for time, kind, channel, value in c["events"]]
        for c in canaries
    ]
    names = sorted({name for canary in canaries for name in canary["attributes"]})
    columns = {name: [canary["attributes"].get(name) for canary in canaries] for name in names}
    created = np.array([canary["created_us"] for canary in canaries])
    as_of = np.array([canary["as_of_us"] for canary in canaries])
    return Leads(created, columns, from_rows(rows), np.arange(len(canaries))), as_of
