"""Tables as arrays, cut at the moment of the export, and the digest of their content."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.factories import TIME, at, event, make_events, make_leads
from tests.worlds import World, make_outcomes, plain_world, shuffled, until
from training.crm import from_tables, joined

LEADS = make_leads({"a": 20, "b": 10, "c": 5}, industry=["製造業", None, "finance"])
EVENTS = make_events(
    {
        "c": [4, event(3, "inquiry", "form", 2.0, known_age_days=1)],
        "a": [event(15, "call"), 18],
        "nobody": [2],
    }
)
OUTCOMES = make_outcomes([("c", 2, "won"), ("a", 12, "lost"), ("nobody", 1, "won")], c=0.5)
WORLD = World(LEADS, EVENTS, OUTCOMES)


def column(table, name, values):
    return table.set_column(table.column_names.index(name), name, values)


def added(table, rows):
    return pa.concat_tables([table, rows]).unify_dictionaries()


def histories(crm):
    """Types and ages of each lead's events."""
    history, rows = crm.leads.history, []
    for start, end in zip(history.ptr[:-1], history.ptr[1:], strict=True):
        codes = history.type_code[start:end]
        rows.append([history.types[code] for code in codes])
    return rows


def test_events_and_outcomes_find_their_leads_and_those_of_nobody_are_left_out():
    crm = WORLD.crm
    assert histories(crm) == [["web_visit", "call"], [], ["web_visit", "inquiry"]]
    assert crm.leads.created_us.tolist() == [at(20), at(10), at(5)]
    outcomes = crm.outcomes
    rows = zip(outcomes.lead, outcomes.closed_us, outcomes.known_us, outcomes.won, strict=True)
    assert sorted(rows) == [(0, at(12), at(12), False), (2, at(2), at(0.5), True)]


def test_events_are_known_when_they_were_recorded():
    history = WORLD.crm.leads.history
    inquiry = history.type_code == history.types.index("inquiry")
    assert history.occurred_us[inquiry].tolist() == [at(3)]
    assert history.known_us[inquiry].tolist() == [at(1)]


def test_an_outcome_without_a_recording_time_is_known_when_it_closed():
    recorded = pa.array([None, at(11), None], TIME)
    crm = replace(WORLD, outcomes=column(OUTCOMES, "recorded_at", recorded)).crm
    assert sorted(crm.outcomes.known_us.tolist()) == [at(11), at(2)]
    without = replace(WORLD, outcomes=OUTCOMES.drop_columns("recorded_at")).crm
    np.testing.assert_array_equal(without.outcomes.known_us, without.outcomes.closed_us)


def test_an_outcome_recorded_before_it_closed_is_known_at_the_close():
    early = pa.array([at(9)] * 3, TIME)
    crm = replace(WORLD, outcomes=column(OUTCOMES, "recorded_at", early)).crm
    assert sorted(crm.outcomes.known_us.tolist()) == [at(9), at(2)]


def test_no_outcomes_table_is_no_outcomes():
    crm = from_tables(replace(WORLD.tables, outcomes=None, outcome_segment=np.empty(0, np.int32)))
    assert [len(values) for values in vars(crm.outcomes).values()] == [0, 0, 0, 0]


def test_empty_tables_are_no_leads_no_events_no_outcomes():
    crm = World(LEADS[:0], EVENTS[:0], OUTCOMES[:0]).crm
    assert (len(crm.leads), len(crm.leads.history.occurred_us), len(crm.outcomes.won)) == (0, 0, 0)
    assert len(crm.digest) == 64


def test_events_of_types_come_with_lead_and_time():
    lead, moment = WORLD.crm.of_types(("call", "inquiry", "unheard_of"))
    assert list(zip(lead.tolist(), moment.tolist(), strict=True)) == [(0, at(15)), (2, at(3))]
    assert [len(part) for part in WORLD.crm.of_types(())] == [0, 0]


# What was not known at the moment of the export


@pytest.mark.parametrize(
    ("age", "expected"), [(5, 3), (5.00001, 2), (10, 2), (10.00001, 1), (21, 0)]
)
def test_leads_created_up_to_the_export_are_there_and_later_ones_are_not(age, expected):
    crm = replace(WORLD, until_us=at(age)).crm
    assert (len(crm.leads), crm.table.num_rows) == (expected, expected)


@pytest.mark.parametrize(("plus_us", "expected"), [(-1, 0), (0, 1), (1, 1)])
def test_an_event_is_there_from_the_microsecond_it_happened(plus_us, expected):
    crm = replace(WORLD, until_us=at(18, plus_us=plus_us)).crm
    assert len(crm.leads.history.occurred_us) == expected


@pytest.mark.parametrize(("plus_us", "expected"), [(-1, 3), (0, 4), (1, 4)])
def test_an_event_is_there_from_the_microsecond_it_was_recorded(plus_us, expected):
    crm = replace(WORLD, until_us=at(1, plus_us=plus_us)).crm
    assert len(crm.leads.history.occurred_us) == expected


@pytest.mark.parametrize(("age", "expected"), [(12.00001, 0), (12, 1), (0.50001, 1), (0.5, 2)])
def test_an_outcome_is_there_from_when_it_was_closed_and_recorded(age, expected):
    assert len(replace(WORLD, until_us=at(age)).crm.outcomes.won) == expected


def test_leads_left_out_take_their_events_with_them_and_the_others_keep_theirs():
    newest_first = replace(WORLD, leads=LEADS.take(pa.array([2, 1, 0])), until_us=at(8))
    crm = newest_first.crm
    assert crm.table["lead_id"].to_pylist() == ["b", "a"]
    assert crm.leads.created_us.tolist() == [at(10), at(20)]
    assert histories(crm) == [[], ["web_visit", "call"]]
    assert crm.outcomes.lead.tolist() == [1]


@settings(max_examples=20, deadline=None)
@given(age=st.floats(-1, 320))
def test_an_export_cut_at_a_moment_is_the_export_made_at_that_moment(age):
    world = plain_world(60)
    cut, made = replace(world, until_us=at(age)).crm, until(world, age).crm
    assert cut.digest == made.digest
    assert cut.table.equals(made.table)
    np.testing.assert_array_equal(cut.leads.history.ptr, made.leads.history.ptr)
    np.testing.assert_array_equal(cut.leads.history.occurred_us, made.leads.history.occurred_us)
    np.testing.assert_array_equal(cut.outcomes.known_us, made.outcomes.known_us)


# The digest


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1_000))
def test_the_digest_does_not_depend_on_the_order_of_events_and_outcomes(seed):
    turned = replace(
        WORLD, events=shuffled(EVENTS, seed), outcomes=shuffled(added(OUTCOMES, OUTCOMES), seed)
    )
    assert turned.crm.digest == replace(WORLD, outcomes=added(OUTCOMES, OUTCOMES)).crm.digest


def test_outcomes_that_differ_in_when_they_became_known_only_may_come_in_any_order():
    twice = make_outcomes([("a", 12, "lost"), ("a", 12, "lost")])
    late = column(twice, "recorded_at", pa.array([at(11), at(3)], TIME))
    straight = replace(WORLD, outcomes=late).crm.digest
    assert replace(WORLD, outcomes=late.take(pa.array([1, 0]))).crm.digest == straight


OTHERWISE = {
    "an event's time": replace(WORLD, events=make_events({"a": [15]})),
    "an event's type": replace(WORLD, events=make_events({"a": [event(14, "inquiry")]})),
    "an event's channel": replace(WORLD, events=make_events({"a": [event(14, channel="web")]})),
    "an event's value": replace(WORLD, events=make_events({"a": [event(14, value=1.0)]})),
    "when an event was known": replace(
        WORLD, events=make_events({"a": [event(14, known_age_days=13)]})
    ),
    "an event's lead": replace(WORLD, events=make_events({"b": [14]})),
    "an outcome": replace(WORLD, outcomes=make_outcomes({"a": (12, "won")})),
    "when it closed": replace(WORLD, outcomes=make_outcomes({"a": (11, "lost")})),
    "when it was known": replace(WORLD, outcomes=make_outcomes({"a": (12, "lost")}, a=11)),
    "whose it was": replace(WORLD, outcomes=make_outcomes({"b": (12, "lost")})),
    "an attribute": replace(
        WORLD, leads=column(LEADS, "industry", pa.array(["製造業", "retail", "finance"]))
    ),
    "the name of an attribute": replace(
        WORLD, leads=LEADS.rename_columns(["lead_id", "created_at", "業種"])
    ),
    "the export's moment": replace(WORLD, until_us=WORLD.until_us + 1),
    "no events": replace(WORLD, events=EVENTS[:0]),
    "no outcomes": replace(WORLD, outcomes=OUTCOMES[:0]),
    "one event": replace(WORLD, events=make_events({"a": [14]})),
    "one outcome": replace(WORLD, outcomes=make_outcomes({"a": (12, "lost")})),
}


def test_the_digest_tells_every_difference_of_content():
    digests = {what: world.crm.digest for what, world in OTHERWISE.items()}
    digests["nothing"] = WORLD.crm.digest
    assert len(set(digests.values())) == len(digests)


def test_what_nobody_knew_and_events_of_nobody_are_not_in_the_digest():
    later = make_events({"a": [event(-1, "brand_new", "fax")], "stranger": [event(9, "odd")]})
    more = replace(WORLD, events=added(EVENTS, later))
    assert more.crm.digest == WORLD.crm.digest


def test_leads_that_were_read_apart_are_put_together_in_the_order_of_their_table():
    """Whatever types and channels each part knows, and whichever part a lead stands in."""
    whole = WORLD.crm
    events = WORLD.events
    parts = []
    for rows in ([1, 2], [0]):
        ids = WORLD.leads["lead_id"].take(pa.array(rows))
        own = events.filter(pc.is_in(events["lead_id"], value_set=ids.combine_chunks()))
        part = replace(WORLD, leads=WORLD.leads.take(pa.array(rows)), events=plainly(own)).crm
        parts.append(replace(part, source_rows=np.array(rows)))
    types = [part.leads.history.types for part in parts]
    assert types[0] != types[1]
    for order in (parts, parts[::-1]):
        both = joined(order, whole.overview, ())
        assert both.digest == whole.digest
        assert both.leads.history.types == whole.leads.history.types
        assert both.source_rows is not None
        assert both.source_rows.tolist() == [0, 1, 2]


def plainly(events):
    """Give events whose dictionaries hold no more than they use."""
    columns = {}
    for name in events.column_names:
        kind = events[name].type
        dictionary = pa.types.is_dictionary(kind)
        plain = events[name].cast(kind.value_type) if dictionary else events[name]
        columns[name] = plain.dictionary_encode() if dictionary else plain
    return pa.table(columns)
