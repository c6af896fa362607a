"""One matrix for all callers: its columns, its rows, and the spec that fixes both."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import engagement as kernel
from features import matrix
from features.attributes import Attribute
from features.history import from_rows
from features.matrix import FeatureSpec, Leads, learn_spec, unknown_channels, unknown_types
from tests.factories import AS_OF_US, at, event, make_batch, make_events, make_leads
from tests.reference import Event, differences, engagement

ATTRIBUTES = (
    Attribute("employees", "number"),
    Attribute("exporter", "boolean"),
    Attribute("industry", "category", ("小売業", "製造業")),
)
SPEC = FeatureSpec(("inquiry", "web_visit"), ("mail", "web"), attributes=ATTRIBUTES)
FACTS: dict[str, list[float | Event]] = {
    "lead-1": [3, event(10, "inquiry", "mail", 2.0), 40],
    "lead-3": [event(1, "fax", "booth"), event(2, "call"), 0.5, 95, 200],
    "lead-4": [event(20, "inquiry", "web", 7.0)],
}
RECORDS: dict[str, list[object]] = {
    "employees": [12, None, 300, 7],
    "exporter": [True, False, None, True],
    "industry": ["製造業", "小売業", "漁業", None],
}
AGES = {"lead-1": 60.0, "lead-2": 30.0, "lead-3": 210.0, "lead-4": 21.0}
BATCH = make_batch(make_leads(AGES, **RECORDS), make_events(FACTS))
ROWS = np.array([0, 1, 2, 3, 2, 2, 0])
MOMENTS = np.array([at(age) for age in (0, 0, 0, 0, 1.5, 150, 5)])


def events_of(lead: int) -> list[Event]:
    facts = FACTS.get(list(AGES)[lead], [])
    return [fact if isinstance(fact, Event) else event(fact) for fact in facts]


def named(spec: FeatureSpec, values: np.ndarray) -> dict[str, float]:
    return dict(zip(spec.names, map(float, values), strict=True))


def test_every_column_is_where_its_name_is() -> None:
    got = matrix.matrix(SPEC, BATCH, ROWS, MOMENTS)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    for values, lead, moment in zip(got, ROWS.tolist(), MOMENTS.tolist(), strict=True):
        expected = engagement(SPEC, events_of(lead), at(list(AGES.values())[lead]), moment)
        expected["lead_employees"] = (12, np.nan, 300, 7)[lead]
        expected["lead_exporter"] = (1, 0, np.nan, 1)[lead]
        expected["lead_industry"] = (2, 1, 0, np.nan)[lead]
        assert differences(named(SPEC, values), expected) == {}
    assert SPEC.names[-3:] == ("lead_employees", "lead_exporter", "lead_industry")


def test_names_are_those_of_the_catalogue_in_its_order() -> None:
    assert SPEC.names == tuple(feature.name for feature in SPEC.features)
    assert SPEC.names[:2] == ("count_inquiry_1d", "count_inquiry_7d")
    assert len(SPEC.names) == 3 * 7 + 3 + 5 + 4 + 3 + 20 + 3


def test_excluded_features_are_left_out_and_the_others_stay_where_their_names_are() -> None:
    exclude = ("count_web_visit_7d", "lead_exporter", "as_of_hour", "no_such_feature")
    fewer = replace(SPEC, exclude=exclude)
    assert fewer.names == tuple(name for name in SPEC.names if name not in exclude)
    got = matrix.matrix(fewer, BATCH, ROWS, MOMENTS)
    whole = matrix.matrix(SPEC, BATCH, ROWS, MOMENTS)
    assert got.flags.c_contiguous
    assert got.shape == (len(ROWS), len(SPEC.names) - 3)
    for values, all_values in zip(got, whole, strict=True):
        kept = {
            name: value for name, value in named(SPEC, all_values).items() if name in fewer.names
        }
        assert differences(named(fewer, values), kept) == {}


def test_law_4_rows_out_are_rows_in() -> None:
    got = matrix.matrix(SPEC, BATCH, ROWS, MOMENTS)
    backwards = matrix.matrix(SPEC, BATCH, ROWS[::-1], MOMENTS[::-1])
    assert got.tobytes() == backwards[::-1].tobytes()
    nothing = matrix.matrix(SPEC, BATCH, ROWS[:0], MOMENTS[:0])
    assert nothing.shape == (0, len(SPEC.names))


def test_law_5_inputs_are_not_mutated() -> None:
    inputs = [
        *(ROWS, MOMENTS, BATCH.created_us, BATCH.segment, BATCH.history.ptr),
        *(BATCH.history.occurred_us, BATCH.history.known_us, BATCH.history.type_code),
        *(BATCH.history.channel_code, BATCH.history.value),
    ]
    before = [column.tobytes() for column in inputs]
    matrix.matrix(SPEC, BATCH, ROWS, MOMENTS, threads=2)
    assert [column.tobytes() for column in inputs] == before


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("block", [1, 2, 3, 7, 100])
def test_blocks_and_threads_change_no_bit(monkeypatch, threads, block) -> None:
    whole = matrix.matrix(SPEC, BATCH, ROWS, MOMENTS)
    monkeypatch.setattr(matrix, "ROWS_PER_BLOCK", block)
    assert matrix.matrix(SPEC, BATCH, ROWS, MOMENTS, threads=threads).tobytes() == whole.tobytes()


def test_an_error_in_a_thread_is_not_lost(monkeypatch) -> None:
    def broken(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(matrix, "ROWS_PER_BLOCK", 2)
    monkeypatch.setattr(kernel, "engagement", broken)
    with pytest.raises(MemoryError):
        matrix.matrix(SPEC, BATCH, ROWS, MOMENTS, threads=2)


def test_leads_may_share_and_skip_segments() -> None:
    shared = replace(BATCH, segment=np.array([2, 2, 0, 1]))
    got = matrix.matrix(SPEC, shared, np.arange(4), np.full(4, AS_OF_US))
    events = SPEC.names.index("events_all")
    assert got[:, events].tolist() == [4, 4, 3, 0]


A_LEAD = st.tuples(
    st.lists(
        st.builds(
            event,
            st.floats(-2, 120),
            st.sampled_from(["call", "fax", "inquiry", "web_visit", "zoom"]),
            st.sampled_from([None, "mail", "web", "展示会"]),
            st.none() | st.floats(-9, 9, width=32),
        ),
        max_size=8,
    ),
    st.none() | st.integers(0, 10**12) | st.floats(0, 1e6),
    st.none() | st.booleans(),
    st.sampled_from([None, "製造業", "小売業", "漁業"]),
    st.floats(0, 200),
)


def alone(events: list[Event], record: dict[str, object], created_us: int) -> Leads:
    """A lead as a request brings it: Python values and a vocabulary of its own."""
    columns = {name: [value] for name, value in record.items()}
    return Leads(np.array([created_us]), columns, from_rows([events]), np.zeros(1, np.int64))


@settings(max_examples=60, deadline=None)
@given(drawn=st.lists(A_LEAD, min_size=1, max_size=4), age=st.floats(-3, 30))
def test_law_3_a_lead_alone_has_the_features_it_has_in_a_table(drawn, age) -> None:
    ids = [f"lead-{i}" for i in range(len(drawn))]
    records: dict[str, list[object]] = {
        "employees": [None if lead[1] is None else float(lead[1]) for lead in drawn],
        "exporter": [lead[2] for lead in drawn],
        "industry": [lead[3] for lead in drawn],
    }
    leads = make_leads({name: lead[4] for name, lead in zip(ids, drawn, strict=True)}, **records)
    batch = make_batch(leads, make_events({n: lead[0] for n, lead in zip(ids, drawn, strict=True)}))
    moments = np.full(len(drawn), at(age))
    table = matrix.matrix(SPEC, batch, np.arange(len(drawn)), moments)
    for row, (events, employees, exporter, industry, created) in enumerate(drawn):
        record = {"employees": employees, "exporter": exporter, "industry": industry}
        lead = alone(events, record, at(created))
        one = matrix.matrix(SPEC, lead, np.zeros(1, np.int64), moments[:1])
        assert one.tobytes() == table[row].tobytes()


# The spec


def test_a_spec_survives_json() -> None:
    spec = replace(SPEC, exclude=("as_of_hour",), sales=("商談",), windows_days=(0.5, 14.0))
    stored = json.loads(json.dumps(spec.to_dict()))
    back = FeatureSpec.from_dict(stored)
    assert back == spec
    assert hash(back) == hash(spec)
    assert back.names == spec.names
    assert back.attributes[2].levels == ("小売業", "製造業")
    got, expected = (matrix.matrix(s, BATCH, ROWS, MOMENTS) for s in (back, spec))
    assert got.tobytes() == expected.tobytes()


def test_a_stored_spec_with_an_unknown_key_is_refused() -> None:
    with pytest.raises(TypeError, match="colour"):
        FeatureSpec.from_dict(SPEC.to_dict() | {"colour": ["red"]})


def test_a_spec_is_learned_from_leads_and_events() -> None:
    leads = make_leads(AGES, industry=["a", "b", "a", "b"], gender=[1, 2, 1, 2])
    spec, findings = learn_spec(leads, BATCH.history, until_us=AS_OF_US, exclude=("as_of_hour",))
    assert spec == FeatureSpec(
        types=("fax", "inquiry", "web_visit"),
        channels=("booth", "mail", "web"),
        attributes=(Attribute("industry", "category", ("a", "b")),),
        exclude=("as_of_hour",),
    )
    assert [finding.rule for finding in findings] == ["left_out_sensitive"]


def test_what_learning_a_spec_is_told() -> None:
    leads = make_leads(AGES, industry=["a", "b", "a", "b"], gender=[1, 2, 1, 2])
    spec, findings = learn_spec(
        leads,
        BATCH.history,
        until_us=AS_OF_US,
        sales=("fax",),
        exclude=("industry",),
        sensitive=("gender",),
        windows_days=(14, 3, 14),
    )
    assert spec.types == ("call", "inquiry", "web_visit")
    assert (spec.sales, spec.windows_days) == (("fax",), (3.0, 14.0))
    assert [attribute.name for attribute in spec.attributes] == ["gender"]
    assert findings == ()


def test_law_1_a_spec_learns_nothing_from_after_until() -> None:
    past: dict[str, list[float | Event]] = {
        "lead-1": [3, event(10, "inquiry", "mail")],
        "lead-2": [event(0, "fax")],
    }
    future: list[float | Event] = [
        event(-1, "zoom", "video"),
        event(5, "letter", "post", known_age_days=-1),
    ]
    ages = {"lead-1": 60.0, "lead-2": 30.0, "lead-3": 0.0}
    leads = make_leads(ages, industry=["a", "b", "a"])
    later = make_leads({**ages, "lead-4": -1, "lead-5": -2}, industry=["a", "b", "a", "c", "c"])
    then = make_batch(leads, make_events(past)).history
    now = make_batch(later, make_events({**past, "lead-4": future, "lead-5": future})).history
    assert learn_spec(later, now, until_us=AS_OF_US) == learn_spec(leads, then, until_us=AS_OF_US)
    assert learn_spec(later, now, until_us=at(-2)) != learn_spec(leads, then, until_us=at(-2))


def test_the_most_frequent_types_have_features_and_ties_go_by_the_alphabet() -> None:
    facts = [event(i, f"type {i:02}", f"channel {i:02}") for i in range(50)]
    history = from_rows([[*facts, event(1, "type 49", "channel 49")]])
    spec, _ = learn_spec(make_leads({"lead-1": 60}), history, until_us=AS_OF_US)
    assert spec.types == (*(f"type {i:02}" for i in range(39)), "type 49")
    assert spec.channels == (*(f"channel {i:02}" for i in range(14)), "channel 49")


@pytest.mark.parametrize("taken", ["other", "last_event", "first_event", "created"])
def test_a_type_that_would_take_the_name_of_another_feature_is_counted_in_other(taken) -> None:
    history = from_rows([[event(3, taken, "other"), event(2)]])
    leads = make_leads({"lead-1": 60})
    spec, _ = learn_spec(leads, history, until_us=AS_OF_US)
    assert (spec.types, spec.channels) == (("web_visit",), ())
    batch = Leads(np.array([at(60)]), {}, history, np.zeros(1, np.int64))
    got = named(spec, matrix.matrix(spec, batch, np.zeros(1, np.int64), np.array([AS_OF_US]))[0])
    assert len(got) == len(spec.names) == len(set(spec.names))
    assert (got["count_other_all"], got["channel_other"]) == (1, 1)


def test_unknown_types_are_those_counted_in_other() -> None:
    types = ("call", "fax", "inquiry", "web_visit", "名刺")
    assert unknown_types(SPEC, types) == ("fax", "名刺")


# Compilation


REQUESTS = """
import numpy as np
from features import engagement, history, matrix

def compiled():
    return [len(f.signatures) for f in
            (engagement.engagement, history._starts, history._in_order, history._sort)]

matrix.warm_up()
before = compiled()
from tests.factories import AS_OF_US, event, make_lead
from tests.test_matrix import SPEC

moment = np.array([AS_OF_US])
moment.flags.writeable = False
for events in ([], [event(3)], [event(1, "fax", "web", 1.0), event(3, "inquiry")]):
    matrix.matrix(SPEC, make_lead(events), np.zeros(1, np.int64), moment)
print(before, compiled())
"""


def test_warm_up_compiles_all_that_a_request_needs() -> None:
    """In a process of its own, where no other test has compiled anything."""
    done = subprocess.run(
        [sys.executable, "-c", REQUESTS],
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[1, 1, 1, 1] [1, 1, 1, 1]\n"


def test_a_table_without_values_channels_and_records() -> None:
    bare = make_events(FACTS).drop_columns(["value", "channel", "recorded_at"])
    got = matrix.matrix(SPEC, make_batch(make_leads(AGES), bare), ROWS, MOMENTS)
    for values, lead, moment in zip(got, ROWS.tolist(), MOMENTS.tolist(), strict=True):
        events = [one._replace(channel=None, value=None) for one in events_of(lead)]
        expected = engagement(SPEC, events, at(list(AGES.values())[lead]), moment)
        expected |= dict.fromkeys(SPEC.names[-3:], np.nan)
        assert differences(named(SPEC, values), expected) == {}


def test_the_columns_of_leads_are_what_is_no_key() -> None:
    leads = make_leads(AGES, **RECORDS).append_column("suppress", pa.array([None] * 4))
    batch = make_batch(leads, make_events(FACTS))
    assert list(batch.columns) == ["employees", "exporter", "industry"]
    assert len(batch) == 4
    assert batch.created_us.tolist() == [at(age) for age in AGES.values()]


def test_an_exclude_that_names_nothing_is_a_warning_and_the_others_are_not() -> None:
    leads = make_leads(AGES, **RECORDS)
    exclude = ("employees", "count_web_visit_7d", "emplyees")
    _, findings = learn_spec(leads, BATCH.history, until_us=AS_OF_US, exclude=exclude)
    assert [f.column for f in findings if f.rule == "unknown_exclude"] == ["emplyees"]


def test_unknown_channels_are_those_without_a_feature() -> None:
    assert unknown_channels(SPEC, ["web", "fax", "mail", "booth"]) == ("fax", "booth")
