"""The catalogue says of every column what it is, once, in two languages."""

import re
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import catalogue, engagement, matrix
from features.attributes import Attribute
from features.history import from_rows
from features.matrix import FeatureSpec
from serving.store import verification
from tests.factories import AS_OF_US, event
from training import simulator

UNITS = {"events", "days", "share", "types", "value", "code", "weekday", "hour"}
JAPANESE = re.compile("[぀-ヿ一-鿿]")
STANDARD = catalogue.engagement(
    tuple(sorted(set(catalogue.EVENT_TYPES) - {catalogue.OTHER})),
    ("email", "event", "web"),
    catalogue.WINDOWS_DAYS,
    catalogue.HALF_LIVES_DAYS,
)


def test_names_are_unique() -> None:
    names = [feature.name for feature in STANDARD]
    assert len(set(names)) == len(names) == 15 * 7 + 4 + 5 + 4 + 3 + 20


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.sampled_from(["all", "7d", "x", "x_7d", "last_type", "of", "trend"])
        | st.text(max_size=8),
        unique=True,
        max_size=6,
    )
)
def test_names_are_unique_whatever_the_types_and_attributes_are_called(names) -> None:
    """Only those of TAKEN_TYPES would collide, and they are counted in `other`."""
    types = [name for name in names if name not in catalogue.TAKEN_TYPES]
    channels = [name for name in names if name != catalogue.OTHER]
    attributes = tuple(Attribute(name, "number") for name in {*names, "age_days", "created"})
    spec = FeatureSpec(tuple(types), tuple(channels), attributes=attributes)
    assert len(set(spec.names)) == len(spec.names)


@pytest.mark.parametrize("taken", sorted(catalogue.TAKEN_TYPES))
def test_a_taken_type_would_collide(taken) -> None:
    names = FeatureSpec(types=(taken,), channels=()).names
    assert len(set(names)) < len(names)


@pytest.mark.parametrize("feature", STANDARD, ids=lambda feature: feature.name)
def test_every_feature_says_what_it_is(feature) -> None:
    assert feature.concept in catalogue.CONCEPTS
    assert feature.unit in UNITS
    assert re.fullmatch(r"\d+ d|all|now", feature.window)
    assert feature.english.isascii()
    assert JAPANESE.search(feature.japanese)
    assert feature.category == (feature.unit == "code")


@pytest.mark.parametrize("feature", STANDARD, ids=lambda feature: feature.name)
def test_the_window_is_the_one_in_the_name(feature) -> None:
    windows = re.findall(r"_(\d+)d\b", feature.name)
    if windows and not feature.name.startswith("engagement_half_life"):
        last = "all" if feature.name.endswith("_of_all") else f"{windows[-1]} d"
        assert feature.window == last
    elif feature.window != "now":
        assert feature.window == "all"


def test_every_concept_has_a_feature_or_is_the_profile() -> None:
    used = {feature.concept for feature in STANDARD} | {"profile"}
    assert used == set(catalogue.CONCEPTS)
    for english, japanese in catalogue.CONCEPTS.values():
        assert english.isascii()
        assert JAPANESE.search(japanese)


def test_the_order_of_the_columns() -> None:
    names = [f.name for f in catalogue.engagement(["b", "a"], ["web"], [1, 30], [2, 0.5])]
    assert names[:-20] == [
        *("count_b_1d", "count_b_30d", "count_b_all", "days_since_b", "share_b"),
        *("count_a_1d", "count_a_30d", "count_a_all", "days_since_a", "share_a"),
        *("count_other_1d", "count_other_30d", "count_other_all", "days_since_other"),
        *("share_other", "channel_web", "channel_other", "events_1d", "events_30d", "events_all"),
        *("trend_1d_of_30d", "trend_30d_of_all"),
        *("engagement_half_life_2d", "engagement_half_life_0.5d"),
    ]
    assert names[-20:] == [feature.name for feature in catalogue.SINGLES]


@pytest.mark.parametrize(
    ("types", "channels", "windows", "half_lives"),
    [(0, 0, 1, 0), (1, 0, 2, 1), (3, 2, 4, 3), (40, 15, 4, 3)],
)
def test_the_kernel_writes_every_column_of_the_catalogue_and_no_other(
    types, channels, windows, half_lives
) -> None:
    spec = FeatureSpec(
        tuple(f"t{i}" for i in range(types)),
        tuple(f"c{i}" for i in range(channels)),
        windows_days=tuple(float(2**i) for i in range(windows)),
        half_lives_days=tuple(float(2**i) for i in range(half_lives)),
    )
    history = from_rows([[event(3, "t0", "c0", 5.0), event(1, "unknown", "c9")]])
    untouched = np.float32(-12345)
    out = np.full((1, len(spec.names) + 2), untouched)
    zero, now = np.zeros(1, np.int64), np.array([AS_OF_US])
    kernel: Callable[..., None] = engagement.engagement
    kernel(*matrix._kernel_arguments(spec, history), zero, zero, now, out)
    assert (out[0] == untouched).tolist() == [False] * len(spec.names) + [True] * 2


def test_the_standard_features() -> None:
    names = {feature.name for feature in catalogue.standard()}
    assert {"count_seminar_attended_30d", "days_since_inquiry", "channel_other"} <= names
    assert not [name for name in names if "closing_attempt" in name]
    assert len(names) == 11 * 7 + 1 + 5 + 4 + 3 + 20


@pytest.mark.parametrize(
    ("attribute", "unit", "category"),
    [
        (Attribute("社員数", "number"), "number", False),
        (Attribute("exporter", "boolean"), "boolean", False),
        (Attribute("industry", "category", ("retail",)), "code", True),
    ],
)
def test_the_feature_of_an_attribute(attribute, unit, category) -> None:
    feature = catalogue.of_attribute(attribute)
    assert feature == catalogue.Feature(
        f"lead_{attribute.name}",
        unit,
        "record",
        "profile",
        f"{attribute.name} of the lead",
        f"リードの{attribute.name}",
        category,
    )


def test_types_go_by_their_plain_name_or_their_own() -> None:
    assert catalogue.display_name("seminar_attended") == ("seminar attendance", "セミナー参加")
    assert catalogue.display_name("名刺") == ("名刺", "名刺")
    count = catalogue.engagement(["seminar_attended"], [], [1, 7], [])[0]
    assert count.english == "seminar attendance: count, last 1 day"
    assert count.japanese == "セミナー参加:直近1日の回数"


def test_the_types_that_machines_make_are_those_that_the_rule_looks_at() -> None:
    checked = {name for name, each in catalogue.EVENT_TYPES.items() if each.checked}
    assert checked == {verification.OPEN, verification.CLICK}


def test_the_simulated_crm_uses_the_channels_of_the_catalogue() -> None:
    simulated = {name: channel for name, (channel, _) in simulator.EVENTS.items()}
    known = {name: each.channel for name, each in catalogue.EVENT_TYPES.items()}
    del known[catalogue.OTHER]
    assert simulated == known
