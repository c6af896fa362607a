"""Scores and decisions of `LeadScorer`, and what its artifact survives or is refused for."""

import hashlib
import json
import shutil
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from features.history import DAY_US
from features.matrix import Leads
from tests.scorers import (
    AS_OF_US,
    EPOCH_US,
    SPEC,
    small_leads,
    small_scorer,
    with_minimum_events,
)
from training import handoff
from training.recipes import MIXES
from training.scorer import CANARIES, FILES, MANIFEST, OBJECTED, WHYS, ArtifactError, LeadScorer


@cache
def scorer_of(mix="blend"):
    return small_scorer(mix=mix)


def now(leads):
    return np.full(len(leads), AS_OF_US)


def told(scores):
    """Decision and why of each row, in words."""
    decisions = [handoff.DECISIONS[code] for code in scores.decision]
    return list(zip(decisions, [scores.whys[code] for code in scores.why], strict=True))


def only(leads, rows):
    """The same leads, some of them, in another order."""
    columns = {name: [column[row] for row in rows] for name, column in leads.columns.items()}
    return Leads(leads.created_us[rows], columns, leads.history, leads.segment[rows])


def same(left, right):
    for name in ("score", "percentile", "grade", "decision", "why"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name))
    assert left.whys == right.whys


# What a score is


def test_a_lead_with_inquiries_and_seminars_scores_above_one_without():
    leads = small_leads(5, leads=400)
    scorer = scorer_of()
    score = scorer.score(leads, now(leads)).score
    X = scorer.matrix(leads, now(leads))
    keen = X[:, SPEC.names.index("count_inquiry_all")] >= 2
    quiet = X[:, SPEC.names.index("count_inquiry_all")] == 0
    assert score[keen].mean() > 2 * score[quiet].mean()


@pytest.mark.parametrize("mix", MIXES)
def test_the_probability_is_the_calibrated_mix_of_both_parts(mix):
    scorer = scorer_of(mix)
    X = scorer.matrix(small_leads(6, leads=20), np.full(20, AS_OF_US))
    card, forest = MIXES[mix]
    parts = scorer.estimator
    log_odds = card * parts.scorecard.decision_function(X) + forest * parts.trees.log_odds(X)
    expected = 1 / (1 + np.exp(-(-0.1 + 0.9 * log_odds)))
    np.testing.assert_allclose(scorer.probability(X), expected, rtol=1e-12)
    assert np.ptp(expected) > 0.05


def test_the_threshold_itself_hands_off_and_one_step_below_nurtures():
    leads = small_leads(7, leads=50)
    scorer = scorer_of()
    score = scorer.score(leads, now(leads)).score
    edge = np.sort(score)[25]
    for threshold, expected in ((edge, "hand_off"), (np.nextafter(edge, 1), "nurture")):
        rule = replace(scorer.rule, threshold=threshold, grades=(1.0, threshold, 0.0))
        found = told(replace(scorer, rule=rule).score(leads, now(leads)))
        why = {"hand_off": "score_reaches_threshold", "nurture": "score_below_threshold"}
        assert found[int(np.flatnonzero(score == edge)[0])] == (expected, why[expected])


def test_the_percentile_counts_the_reference_scores_that_are_no_higher():
    scorer = scorer_of()
    leads = small_leads(8, leads=30)
    score = scorer.score(leads, now(leads)).score
    middle = np.sort(score)[15]
    reference = {**scorer.reference, "scores": [0.0, middle, middle, 1.0]}
    found = replace(scorer, reference=reference).score(leads, now(leads)).percentile
    assert found[score == middle].tolist() == [75.0]
    assert set(found[score < middle]) == {25.0}
    assert set(found[score > middle]) == {75.0}


def test_leads_that_do_not_exist_yet_abstain():
    leads = small_leads(9, leads=3)
    moment = np.array([EPOCH_US - 1, EPOCH_US, AS_OF_US])
    found = scorer_of().score(leads, moment)
    assert told(found)[0] == ("abstain", "not_created")
    assert [why for _, why in told(found)[1:]] != ["not_created"] * 2
    assert np.isnan(found.score).tolist() == [True, False, False]
    assert np.isnan(found.percentile).tolist() == [True, False, False]
    assert handoff.GRADES[found.grade[0]] == ""


def test_leads_with_fewer_events_than_the_rule_asks_for_abstain():
    leads = small_leads(10, leads=60)
    scorer = with_minimum_events(scorer_of(), 3)
    found = scorer.score(leads, now(leads))
    events = scorer.matrix(leads, now(leads))[:, SPEC.names.index("events_all")]
    assert {2.0, 3.0} <= set(events)
    few = events < 3
    assert {pair for pair, out in zip(told(found), few, strict=True) if out} == {
        ("abstain", "too_little_history")
    }
    np.testing.assert_array_equal(np.isnan(found.score), few)


def test_a_lead_that_is_both_too_new_and_too_quiet_is_not_created():
    leads = small_leads(10, leads=2)
    found = with_minimum_events(scorer_of(), 99).score(leads, np.array([EPOCH_US - 1, AS_OF_US]))
    assert told(found) == [("abstain", "not_created"), ("abstain", "too_little_history")]


def test_suppressed_leads_keep_their_score_unless_they_objected():
    leads = small_leads(11, leads=5)
    plain = scorer_of().score(leads, now(leads))
    suppress = ["customer", None, OBJECTED, "", "解約済み"]
    found = scorer_of().score(leads, now(leads), suppress=suppress)
    assert [pair for pair in told(found) if pair[0] == "suppressed"] == [
        ("suppressed", "customer"),
        ("suppressed", "objected"),
        ("suppressed", "解約済み"),
    ]
    assert np.isnan(found.score).tolist() == [False, False, True, False, False]
    assert np.isnan(found.percentile).tolist() == [False, False, True, False, False]
    scored = [0, 1, 3, 4]
    np.testing.assert_array_equal(found.score[scored], plain.score[scored])
    np.testing.assert_array_equal(found.grade[scored], plain.grade[scored])
    assert [told(found)[row] for row in (1, 3)] == [told(plain)[row] for row in (1, 3)]
    assert handoff.GRADES[found.grade[2]] == ""
    assert found.whys[: len(WHYS)] == WHYS


def test_suppression_says_more_than_abstaining():
    leads = small_leads(11, leads=1)
    found = scorer_of().score(leads, np.array([EPOCH_US - 1]), suppress=["customer"])
    assert told(found) == [("suppressed", "customer")]
    assert np.isnan(found.score[0])


def test_no_leads_give_no_rows():
    leads = small_leads(1, leads=0)
    assert len(scorer_of().score(leads, now(leads))) == 0


# The laws


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), mix=st.sampled_from(list(MIXES)))
def test_a_lead_scores_the_same_alone_and_in_a_batch_to_the_last_digit(seed, mix):
    scorer = scorer_of(mix)
    leads = small_leads(seed, leads=40)
    together = scorer.score(leads, now(leads))
    for row in (0, 17, 39):
        alone = scorer.score(only(leads, [row]), np.array([AS_OF_US]))
        assert alone.score[0] == together.score[row]
        assert alone.percentile[0] == together.percentile[row]
        assert told(alone)[0] == told(together)[row]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_rows_come_out_in_the_order_they_went_in(seed):
    leads = small_leads(seed, leads=30)
    order = np.random.default_rng(seed).permutation(30)
    straight = scorer_of().score(leads, now(leads))
    turned = scorer_of().score(only(leads, order), now(leads))
    np.testing.assert_array_equal(turned.score, straight.score[order])
    np.testing.assert_array_equal(turned.decision, straight.decision[order])


def test_scoring_writes_into_none_of_its_arguments():
    leads = small_leads(12, leads=50)
    moment, suppress = now(leads), [OBJECTED, *[None] * 49]
    columns = {name: list(column) for name, column in leads.columns.items()}
    arrays = [leads.created_us, *vars(leads.history).values(), leads.segment, moment]
    before = [np.copy(array) for array in arrays if isinstance(array, np.ndarray)]
    for array in arrays:
        if isinstance(array, np.ndarray):
            array.setflags(write=False)
    scorer_of().score(leads, moment, suppress=suppress)
    after = [array for array in arrays if isinstance(array, np.ndarray)]
    for was, is_ in zip(before, after, strict=True):
        np.testing.assert_array_equal(was, is_)
    assert leads.columns == columns
    assert suppress == [OBJECTED, *[None] * 49]


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_raising_the_threshold_never_adds_hand_offs(one, other):
    leads = small_leads(13, leads=80)
    low, high = sorted((one, other))

    def handed(threshold):
        rule = replace(scorer_of().rule, threshold=threshold, grades=(1.0, threshold, 0.0))
        return replace(scorer_of(), rule=rule).score(leads, now(leads)).decision == handoff.HAND_OFF

    assert not (handed(high) & ~handed(low)).any()


def test_of_two_leads_the_higher_score_has_the_better_decision_grade_and_percentile():
    leads = small_leads(14, leads=200)
    found = scorer_of().score(leads, now(leads))
    best_first = np.argsort(-found.score, kind="stable")
    assert (np.diff(found.decision[best_first].astype(int)) >= 0).all()
    assert (np.diff(found.grade[best_first].astype(int)) >= 0).all()
    assert (np.diff(found.percentile[best_first]) <= 0).all()
    assert {0, 1} <= set(found.decision)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), weeks=st.integers(-50, 50))
def test_shifting_all_times_by_whole_weeks_changes_no_score(seed, weeks):
    leads = small_leads(seed, leads=20)
    by = weeks * 7 * DAY_US
    history = leads.history
    shifted = replace(history, occurred_us=history.occurred_us + by, known_us=history.known_us + by)
    moved = replace(leads, created_us=leads.created_us + by, history=shifted)
    np.testing.assert_array_equal(
        scorer_of().score(leads, now(leads)).score,
        scorer_of().score(moved, now(leads) + by).score,
    )


# The artifact


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    return folder, scorer_of().save(folder)


@pytest.fixture
def folder(tmp_path, saved):
    """A copy of an artifact to spoil."""
    return Path(shutil.copytree(saved[0], tmp_path / "model"))


def manifest_of(folder):
    return json.loads((folder / MANIFEST).read_bytes())


def rewrite(folder, **changes):
    """Change keys of the manifest; None takes one out."""
    manifest = {**manifest_of(folder), **changes}
    kept = {key: value for key, value in manifest.items() if value is not None}
    (folder / MANIFEST).write_text(json.dumps(kept), encoding="utf-8")


def put(folder, name, content):
    """Exchange a file, and its digest in the manifest, so that later checks must find it out."""
    (folder / name).write_bytes(content)
    files = manifest_of(folder)["files"] | {name: hashlib.sha256(content).hexdigest()}
    rewrite(folder, files=files)


def refused(folder, **options):
    """The message with which an artifact is refused; it names the folder and what to do next."""
    with pytest.raises(ArtifactError) as caught:
        LeadScorer.load(folder, **options)
    message = str(caught.value)
    assert str(folder) in message
    next_steps = ("leadqual train", "copy ", "retrain", "pin this one")
    assert any(step in message for step in next_steps)
    return message


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000), mix=st.sampled_from(list(MIXES)))
def test_what_is_loaded_scores_the_same_to_the_last_digit(tmp_path_factory, seed, mix):
    scorer = small_scorer(seed, mix=mix)
    loaded = LeadScorer.load(_saved(scorer, tmp_path_factory.mktemp("any")))
    leads = small_leads(seed + 1, leads=60)
    suppress = ["customer", OBJECTED, *[None] * 58]
    for moment in (AS_OF_US, EPOCH_US - 1, EPOCH_US + DAY_US):
        as_of = np.full(60, moment)
        same(
            loaded.score(leads, as_of, suppress=suppress),
            scorer.score(leads, as_of, suppress=suppress),
        )
    rows = np.arange(5)
    assert loaded.explain(leads, now(leads), rows) == scorer.explain(leads, now(leads), rows)


def _saved(scorer, folder):
    scorer.save(folder / "model")
    return folder / "model"


def test_the_rest_of_the_scorer_comes_back_too(saved):
    folder, scorer = saved
    loaded = LeadScorer.load(folder, name="leads", version="7")
    for name in ("spec", "calibration", "rule", "reference", "card", "digest"):
        assert getattr(loaded, name) == getattr(scorer, name)
    assert loaded.label == f"leads/7 sha256:{scorer.digest}"
    assert loaded.spec.attributes[2].levels == ("finance", "manufacturing", "製造業")


def test_the_digest_is_that_of_the_manifest_and_covers_every_file(saved):
    folder, scorer = saved
    assert scorer.digest == hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    assert manifest_of(folder)["files"] == {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES
    }


def test_the_same_scorer_is_saved_as_the_same_bytes_and_so_is_what_was_loaded(saved, tmp_path):
    folder, scorer = saved
    again, loaded = _saved(small_scorer(), tmp_path), LeadScorer.load(folder)
    assert loaded.save(tmp_path / "loaded").digest == scorer.digest
    for name in (*FILES, MANIFEST):
        assert (again / name).read_bytes() == (folder / name).read_bytes()


@pytest.mark.parametrize("written", ["{}", "sha256:{}"])
def test_the_pinned_digest_is_accepted_in_either_form_and_case(saved, written):
    folder, scorer = saved
    pinned = written.format(scorer.digest.upper())
    assert LeadScorer.load(folder, expect_digest=pinned).digest == scorer.digest


def test_another_digest_than_the_pinned_one_is_refused(folder, saved):
    pinned = saved[1].digest[:-1] + ("0" if saved[1].digest[-1] != "0" else "1")
    message = refused(folder, expect_digest=pinned)
    assert pinned in message
    assert saved[1].digest in message


def test_a_whole_artifact_of_another_model_is_refused_where_one_is_pinned(tmp_path, saved):
    other = small_scorer(1).save(tmp_path / "other")
    assert other.digest != saved[1].digest
    assert "another model than the pinned one" in refused(
        tmp_path / "other", expect_digest=saved[1].digest
    )


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    assert name in refused(folder)


def test_a_folder_that_is_not_there_is_named(tmp_path):
    assert "--model must name a folder" in refused(tmp_path / "nowhere")


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kept", [0, 1, 100, -1])
def test_a_truncated_file_is_refused(folder, name, kept):
    content = (folder / name).read_bytes()
    (folder / name).write_bytes(content[:kept])
    assert f"{name} has the digest" in refused(folder)


@settings(max_examples=40, deadline=None)
@given(name=st.sampled_from(FILES), place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_single_flipped_bit_of_a_file_is_refused(tmp_path_factory, saved, name, place, bit):
    folder = Path(shutil.copytree(saved[0], tmp_path_factory.mktemp("flipped") / "model"))
    content = bytearray((folder / name).read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    (folder / name).write_bytes(bytes(content))
    assert "corrupt or was changed" in refused(folder)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"not json", b"[]", b"null", b"7", b"{}", b'{"format": 1}', b"\xff\xfe"]
)
def test_a_manifest_that_is_none_is_refused(folder, content):
    (folder / MANIFEST).write_bytes(content)
    assert "is no manifest" in refused(folder)


def test_a_truncated_manifest_is_refused(folder):
    (folder / MANIFEST).write_bytes((folder / MANIFEST).read_bytes()[:-3])
    assert "is no manifest" in refused(folder)


@pytest.mark.parametrize("number", [0, 2, "1", None])
def test_another_format_is_refused(folder, number):
    manifest = manifest_of(folder) | {"format": number}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    message = refused(folder)
    assert f"has the format {number!r}, this version reads 1" in message


@pytest.mark.parametrize(
    "key", ["spec", "features", "mix", "calibration", "rule", "card", "canaries"]
)
@pytest.mark.parametrize("value", [None, 7, [], {}, "text"])
def test_a_manifest_that_lacks_or_misnames_something_is_refused(folder, key, value):
    rewrite(folder, **{key: value})
    refused(folder)


def test_an_unknown_key_of_the_rule_is_refused(folder):
    rewrite(folder, rule=manifest_of(folder)["rule"] | {"treshold": 0.5})
    assert "treshold" in refused(folder)


def test_a_rule_that_contradicts_itself_is_refused(folder):
    rewrite(folder, rule=manifest_of(folder)["rule"] | {"threshold": 0.99})
    assert "contradict each other" in refused(folder)


# Foreign content under right digests


class Intruder:
    """What no allow-list knows."""


FOREIGN = {
    "another estimator": LogisticRegression(),
    "a dict": {"points": [1.0]},
    "an empty list": [],
    "an array": np.zeros(3),
    "a text": "Scorecard",
    "a class of one's own": Intruder(),
    "a function that runs": partial(print, "never"),
    "a list that hides one": [Intruder()],
}


@pytest.mark.parametrize("what", FOREIGN)
def test_a_skops_file_with_anything_but_a_scorecard_is_refused(folder, what, capsys):
    put(folder, "estimator.skops", skops.io.dumps(FOREIGN[what]))
    message = refused(folder)
    assert "expected only a Scorecard: do not use it" in message
    assert capsys.readouterr().out == ""


def test_the_untrusted_types_of_a_skops_file_are_named(folder):
    put(folder, "estimator.skops", skops.io.dumps(Intruder()))
    assert "Intruder" in refused(folder)


def test_a_scorecard_with_something_foreign_inside_is_refused(folder):
    card = small_scorer().estimator.scorecard
    card.extra_ = Intruder()
    put(folder, "estimator.skops", skops.io.dumps(card))
    assert "Intruder" in refused(folder)


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive at all"])
def test_a_skops_file_that_is_no_archive_is_refused(folder, content):
    put(folder, "estimator.skops", content)
    assert "no skops archive" in refused(folder)


@pytest.mark.parametrize("attribute", ["points_", "edges_", "start_", "center_"])
def test_a_scorecard_whose_tables_do_not_fit_together_is_refused(folder, attribute):
    card = small_scorer().estimator.scorecard
    setattr(card, attribute, getattr(card, attribute)[:-1])
    put(folder, "estimator.skops", skops.io.dumps(card))
    refused(folder)


@pytest.mark.parametrize("attribute", ["points_", "start_"])
def test_a_scorecard_that_was_never_fitted_is_refused(folder, attribute):
    card = small_scorer().estimator.scorecard
    delattr(card, attribute)
    put(folder, "estimator.skops", skops.io.dumps(card))
    assert attribute in refused(folder)


NARROW = replace(SPEC, attributes=SPEC.attributes[:-1])


def test_trees_of_another_number_of_features_are_refused(folder):
    other = small_scorer(spec=NARROW).estimator.trees.to_text()
    put(folder, "trees.txt", other.encode())
    message = refused(folder)
    assert f"was saved with {len(SPEC.names)} features" in message
    assert f"its trees know {len(SPEC.names) - 1}" in message


def test_a_scorecard_of_another_number_of_features_is_refused(folder):
    put(folder, "estimator.skops", skops.io.dumps(small_scorer(spec=NARROW).estimator.scorecard))
    assert f"scorecard {len(SPEC.names) - 1}; this code computes {len(SPEC.names)}" in refused(
        folder
    )


def test_features_that_this_code_does_not_compute_are_refused_by_name(folder):
    names = ["count_of_yesterday", *manifest_of(folder)["features"][1:]]
    rewrite(folder, features=names)
    assert "count_of_yesterday" in refused(folder)


def test_features_in_another_order_are_refused(folder):
    rewrite(folder, features=manifest_of(folder)["features"][::-1])
    assert "features" in refused(folder)


@pytest.mark.parametrize("content", [b"", b"tree\nno tree", b"\xff\xfe\x00", b"{}"])
def test_trees_that_are_none_are_refused(folder, content):
    put(folder, "trees.txt", content)
    assert "trees.txt is no LightGBM model" in refused(folder)


def test_another_model_under_a_right_digest_fails_its_canaries(folder):
    put(folder, "trees.txt", small_scorer(3).estimator.trees.to_text().encode())
    assert "scores its canary lead canary-" in refused(folder)


def test_an_inverted_calibration_fails_its_canaries(folder):
    turned = manifest_of(folder)["calibration"]
    rewrite(folder, calibration=turned | {"slope": -turned["slope"]})
    assert "another model than was trained" in refused(folder)


@pytest.mark.parametrize("change", [2e-9, -2e-9])
@pytest.mark.parametrize("row", range(CANARIES))
def test_a_canary_that_scores_otherwise_by_more_than_a_billionth_is_refused(folder, row, change):
    canaries = manifest_of(folder)["canaries"]
    canaries[row]["score"] += change
    rewrite(folder, canaries=canaries)
    assert f"canary-{row}" in refused(folder)


def test_a_canary_may_differ_by_what_another_processor_rounds(folder):
    canaries = manifest_of(folder)["canaries"]
    canaries[2]["score"] += 1e-12
    rewrite(folder, canaries=canaries)
    LeadScorer.load(folder)


@pytest.mark.parametrize("kept", [0, CANARIES - 1])
def test_an_artifact_without_its_canaries_is_refused(folder, kept):
    rewrite(folder, canaries=manifest_of(folder)["canaries"][:kept])
    assert "canary leads" in refused(folder)


def test_the_canaries_differ_and_touch_every_type_channel_and_attribute(folder):
    canaries = manifest_of(folder)["canaries"]
    assert len({canary["score"] for canary in canaries}) == CANARIES
    events = [event for canary in canaries for event in canary["events"]]
    assert set(SPEC.types) < {kind for _, kind, _, _ in events}
    assert set(SPEC.channels) < {channel for _, _, channel, _ in events}
    assert {name for canary in canaries for name in canary["attributes"]} == {
        attribute.name for attribute in SPEC.attributes
    }


@pytest.mark.parametrize("content", [b"{}", b'{"scores": []}', b"[]", b"no json"])
def test_a_reference_without_scores_is_refused(folder, content):
    put(folder, "reference.json", content)
    refused(folder)


# Whole or not at all


def test_saving_over_an_artifact_replaces_it_and_leaves_other_files_alone(tmp_path):
    folder = tmp_path / "部署" / "model"
    scorer_of().save(folder)
    (folder / "report.html").write_text("<h1>Report</h1>")
    newer = small_scorer(2).save(folder)
    assert LeadScorer.load(folder).digest == newer.digest != scorer_of().save(folder).digest
    assert (folder / "report.html").read_text() == "<h1>Report</h1>"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*FILES, MANIFEST, "report.html"]
    )


def test_a_save_that_fails_while_it_writes_leaves_what_was_there(folder, saved, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        small_scorer(2).save(folder)
    assert LeadScorer.load(folder).digest == saved[1].digest
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("moved", range(4))
def test_a_save_that_dies_between_two_files_leaves_nothing_that_loads(folder, monkeypatch, moved):
    move = Path.replace
    done: list[object] = []

    def dies(self, target):
        if len(done) == moved:
            raise OSError(5, "Input/output error")
        done.append(target)
        return move(self, target)

    monkeypatch.setattr(Path, "replace", dies)
    with pytest.raises(OSError, match="Input/output"):
        small_scorer(2).save(folder)
    assert MANIFEST in refused(folder)
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    monkeypatch.undo()
    again = small_scorer(2).save(folder)
    assert LeadScorer.load(folder).digest == again.digest
