import json
from dataclasses import replace
from functools import cache

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from features.catalogue import CONCEPTS
from features.history import DAY_US, from_rows
from features.matrix import FeatureSpec, Leads, matrix
from tests.scorers import AS_OF_US, EPOCH_US, SPEC, small_leads, small_scorer
from training import wording
from training.reasons import reasons
from training.recipes import MIXES

MAY_20_US = 1_779_235_200_000_000
"""2026-05-20T00:00:00Z."""


def lead(*events, created_us=MAY_20_US - 60 * DAY_US, **attributes):
    """One lead; an event is (days before 20 May, type) with an optional channel and value."""
    rows = [
        (
            MAY_20_US - round(days * DAY_US),
            MAY_20_US - round(days * DAY_US),
            kind,
            *(*rest, None, None)[:2],
        )
        for days, kind, *rest in events
    ]
    columns = {name: [value] for name, value in attributes.items()}
    return Leads(np.array([created_us]), columns, from_rows([rows]), np.zeros(1, np.int64))


def explain(leads, added, language="en", *, spec=SPEC, as_of_us=MAY_20_US):
    """Reasons of one lead when the named features add so much."""
    at = np.array([as_of_us])
    X = matrix(spec, leads, np.zeros(1, np.int64), at)
    contributions = np.zeros(X.shape)
    for name, value in added.items():
        contributions[0, spec.names.index(name)] = value
    return reasons(spec, X, contributions, leads, np.zeros(1, np.int64), at, language)[0]


TWO_EVENTS = ((8, "seminar_attended", "event"), (6, "document_request", "web"))
INTEREST = {"count_seminar_attended_30d": 0.3, "share_document_request": 0.2}


def test_says_what_the_lead_did_and_when():
    (reason,) = explain(lead(*TWO_EVENTS), INTEREST)
    assert reason.text == (
        "The kind of activity speaks for a win: seminar attendance on 12 May, "
        "document request on 14 May, nothing since."
    )
    assert (reason.concept, reason.direction, reason.strength) == ("interest", "up", "medium")
    assert reason.evidence == [
        {"event_type": "seminar_attended", "count": 1, "last_at": "2026-05-12T00:00:00Z"},
        {"event_type": "document_request", "count": 1, "last_at": "2026-05-14T00:00:00Z"},
    ]


def test_says_it_in_japanese():
    (reason,) = explain(lead(*TWO_EVENTS), INTEREST, "ja")
    assert reason.text == (
        "活動の内容は、受注しやすい傾向と関連しています:"
        "5月12日にセミナー参加、5月14日に資料請求、その後の活動なし。"
    )


def test_another_language_falls_back_to_english():
    assert explain(lead(), {"as_of_hour": 1.0}, "tlh") == explain(lead(), {"as_of_hour": 1.0}, "en")


def test_nothing_since_is_said_of_the_last_event_only_and_after_a_day():
    later = lead(*TWO_EVENTS, (2, "web_visit"))
    assert "nothing since" not in explain(later, INTEREST)[0].text
    fresh = lead((8, "seminar_attended"), (0.9, "document_request"))
    assert "nothing since" not in explain(fresh, INTEREST)[0].text


def test_counts_and_years_are_said_where_they_matter():
    (reason,) = explain(
        lead((200, "web_visit"), (180, "web_visit"), created_us=0), {"count_web_visit_all": 0.5}
    )
    assert "web visit on 21 Nov 2025 (2 in all), nothing since" in reason.text


@pytest.mark.parametrize(
    ("days", "said"),
    [(0, "within 24 hours"), (0.99, "within 24 hours"), (1, "1 day ago"), (3.5, "3 days ago")],
)
def test_recency_counts_days(days, said):
    (reason,) = explain(lead((days, "web_visit")), {"days_since_last_event": 0.2})
    assert reason.text == f"The time since the last activities speaks for a win: web visit {said}."


def test_what_never_happened_can_speak_against():
    (reason,) = explain(
        lead((3, "web_visit")), {"count_inquiry_all": -0.4, "count_web_visit_7d": 0.1}
    )
    assert reason.text == ("The kind of activity speaks against a win: no inbound inquiry so far.")
    assert reason.evidence == [{"event_type": "inquiry", "count": 0, "last_at": None}]


def test_other_activity_goes_by_its_own_name():
    (reason,) = explain(lead((3, "demo"), (2, "デモ")), {"count_other_all": 0.4})
    assert "demo on 17 May, デモ on 18 May" in reason.text


def test_events_that_the_features_do_not_see_are_no_evidence():
    unseen = from_rows(
        [
            [
                (MAY_20_US + 1, MAY_20_US + 1, "inquiry", None, None),
                (MAY_20_US - DAY_US, MAY_20_US + 1, "inquiry", None, None),
                (MAY_20_US - DAY_US, MAY_20_US - DAY_US, "call", None, None),
            ]
        ]
    )
    leads = replace(lead(), history=unseen)
    assert explain(leads, {"days_since_last_event": -0.5})[0].text == (
        "The time since the last activities speaks against a win: no activity so far."
    )


def test_an_event_at_the_moment_of_judging_is_seen():
    (reason,) = explain(lead((0, "inquiry")), {"count_inquiry_all": 0.5})
    assert reason.evidence[0]["count"] == 1


@pytest.mark.parametrize(
    ("value", "said", "evidence"),
    [
        ("製造業", "industry = 製造業", "製造業"),
        (None, "industry = not known", None),
        (float("nan"), "industry = not known", None),
        (12.0, "industry = 12", 12.0),
        (0.123456, "industry = 0.123", 0.123456),
        (True, "industry = yes", True),
        ("x" * 80, "industry = " + "x" * 59 + "…", "x" * 80),
    ],
)
def test_the_profile_gives_attributes(value, said, evidence):
    (reason,) = explain(lead(industry=value), {"lead_industry": 0.2})
    assert reason.text == f"The profile of the lead speaks for a win: {said}."
    assert reason.evidence == [{"attribute": "industry", "value": evidence}]
    json.dumps(reason.evidence, allow_nan=False)


@pytest.mark.parametrize("encode", [pa.array, lambda x: pa.chunked_array([x]).dictionary_encode()])
def test_attributes_may_be_arrow_columns(encode):
    leads = replace(lead(), columns={"industry": encode(["finance"])})
    assert explain(leads, {"lead_industry": 0.2})[0].evidence[0]["value"] == "finance"


def test_figures_are_decoded_and_limited_to_two():
    leads = lead((3, "web_visit", "event"), (2, "web_visit", "pigeon"))
    (reason,) = explain(
        leads,
        {"first_channel": 0.3, "last_channel": 0.2, "channel_web": 0.1, "channel_event": -0.1},
    )
    assert reason.evidence == [
        {"feature": "first_channel", "value": "event"},
        {"feature": "last_channel", "value": "other"},
    ]
    (timing,) = explain(leads, {"as_of_weekday": 0.3, "weekday_share": 0.2})
    assert "weekday of judging, Monday is 0 = Wednesday" in timing.text
    assert "Friday = 50%" in timing.text


@pytest.mark.parametrize(
    ("size", "strength"),
    [
        (0.099, None),
        (0.1, "weak"),
        (0.299, "weak"),
        (0.3, "medium"),
        (0.699, "medium"),
        (0.7, "strong"),
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
def test_strength_has_a_floor_and_two_steps(size, strength, sign):
    found = explain(lead(), {"as_of_hour": sign * size})
    assert [reason.strength for reason in found] == ([strength] if strength else [])
    assert all(reason.direction == ("up" if sign > 0 else "down") for reason in found)


def test_three_at_most_by_size_then_name():
    found = explain(
        lead((3, "web_visit")),
        {
            "events_all": 0.5,
            "as_of_hour": -0.5,
            "days_since_last_event": -0.6,
            "lead_industry": 0.4,
            "gap_max_days": 0.05,
        },
    )
    assert [reason.concept for reason in found] == ["recency", "timing", "volume"]


def test_contributions_within_a_concept_are_summed():
    assert explain(lead(), {"events_all": 0.5, "active_days": -0.45}) == ()


@pytest.mark.parametrize("language", wording.LANGUAGES)
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("concept", CONCEPTS)
def test_every_concept_direction_and_language_renders(concept, sign, language):
    """With and without events, and with nothing known of the lead."""
    everything = {feature.name: sign for feature in SPEC.features if feature.concept == concept}
    full = lead(
        (3, "web_visit", "web", 2.0), (2, "demo", "pigeon", -1.0), employees=120, industry="other"
    )
    for leads in (lead(), full):
        (reason,) = explain(leads, everything, language)
        assert reason.concept == concept
        assert wording.SUBJECTS[concept][wording.LANGUAGES.index(language)] in reason.text
        assert wording.VERDICTS[reason.direction][wording.LANGUAGES.index(language)] in reason.text
        assert "because" not in reason.text
        assert "nan" not in reason.text.lower().replace("finance", "")
        json.dumps(reason.evidence, allow_nan=False)


def test_features_that_are_excluded_do_not_shift_the_others():
    spec = replace(SPEC, exclude=("count_document_request_1d", "last_type"))
    (reason,) = explain(lead((3, "inquiry")), {"count_inquiry_all": 0.5}, spec=spec)
    assert reason.evidence[0]["event_type"] == "inquiry"


def test_a_scorer_explains_the_rows_that_are_asked_for_each_as_alone():
    scorer, leads = small_scorer(3), small_leads(4, leads=40)
    as_of = np.full(40, AS_OF_US)
    rows = np.array([7, 3, 39])
    together = scorer.explain(leads, as_of, rows)
    assert together == [scorer.explain(leads, as_of, np.array([row]))[0] for row in rows]
    assert sum(map(len, together)) > 3


@cache
def explained(mix):
    """A scorer, and the log-odds of the average lead, from which its reasons count."""
    scorer, leads = small_scorer(3, mix=mix), small_leads(4, leads=30)
    X = scorer.matrix(leads, np.full(30, AS_OF_US))
    return scorer, float(left_over(scorer, X)[0])


def left_over(scorer, X):
    """What of the calibrated log-odds no concept accounts for."""
    added = scorer.calibration.slope * scorer.estimator.contributions(X)
    places = [list(CONCEPTS).index(feature.concept) for feature in scorer.spec.features]
    concepts = np.stack([np.bincount(places, row, len(CONCEPTS)) for row in added])
    return scorer.calibration.log_odds(scorer.estimator.log_odds(X)) - concepts.sum(axis=1)


VALUES = st.one_of(
    st.just(np.nan), st.integers(-1, 5), st.floats(-1e6, 1e6, width=32), st.just(np.inf)
)


@pytest.mark.parametrize("mix", MIXES)
@settings(max_examples=100, deadline=None)
@given(row=arrays(np.float32, len(SPEC.names), elements=VALUES.map(np.float32)))
def test_concepts_and_a_constant_are_the_score_whatever_the_row_and_the_recipe(mix, row):
    scorer, constant = explained(mix)
    assert abs(left_over(scorer, row[None])[0] - constant) < 1e-9
    missing = np.full_like(row, np.nan)
    assert abs(left_over(scorer, missing[None])[0] - constant) < 1e-9


def test_a_spec_without_vocabulary_works():
    spec = FeatureSpec((), ())
    (reason,) = explain(lead((3, "demo")), {"count_other_all": 0.5}, spec=spec)
    assert "demo on 17 May" in reason.text


def test_leads_before_their_first_event_and_at_the_epoch():
    assert explain(lead(created_us=EPOCH_US), {"days_since_created": 0.2})[0].strength == "weak"
