import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.store import life
from serving.store.life import ACTIONS, ENDED, EVERY, OPEN, STATES, NotAllowed, after, allowed

TABLE = {
    "waiting": {"override": "overridden"},
    "proposed": {"accept": "accepted", "reject": "rejected", "override": "overridden"},
    "accepted": {
        "contact": "contacted",
        "appointment": "appointment",
        "visit": "visit",
        "closing": "closing",
        "won": "won",
        "lost": "lost",
        "recycle": "recycled",
        "override": "overridden",
    },
    "contacted": {
        "appointment": "appointment",
        "visit": "visit",
        "closing": "closing",
        "won": "won",
        "lost": "lost",
        "recycle": "recycled",
        "disqualify": "disqualified",
    },
    "appointment": {
        "visit": "visit",
        "closing": "closing",
        "won": "won",
        "lost": "lost",
        "recycle": "recycled",
        "disqualify": "disqualified",
    },
    "visit": {
        "closing": "closing",
        "won": "won",
        "lost": "lost",
        "recycle": "recycled",
        "disqualify": "disqualified",
    },
    "closing": {
        "closing": "closing",
        "won": "won",
        "lost": "lost",
        "recycle": "recycled",
        "disqualify": "disqualified",
    },
}
"""Written down again, by hand: what people may do in each state, and where it leads."""


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("status", STATES)
def test_every_action_in_every_state(status, action):
    wanted = TABLE.get(status, {}).get(action)
    assert (action in allowed(status)) == (wanted is not None)
    if wanted is not None:
        assert after(status, action) == wanted
        return
    with pytest.raises(NotAllowed) as refused:
        after(status, action)
    assert refused.value.allowed == [*TABLE.get(status, {})]


def test_a_refusal_names_what_is_allowed():
    with pytest.raises(NotAllowed, match=r"allowed: accept, reject, override$"):
        after("proposed", "won")
    with pytest.raises(NotAllowed, match="it has ended"):
        after("won", "accept")


def test_every_state_can_be_reached_and_none_leads_out_of_the_end():
    assert {action.to for action in EVERY.values()} == {*STATES}
    assert {state for action in EVERY.values() for state in action.of} == {*OPEN}
    assert {*OPEN} | {*ENDED} == {*STATES}


@given(st.lists(st.sampled_from([*EVERY])))
def test_contact_comes_before_a_disqualification_and_never_before_acceptance(actions):
    status, seen = life.WAITING, []
    for action in actions:
        if status in EVERY[action].of:
            status = after(status, action)
            seen.append(status)
    worked = [state for state in seen if state in {*life.TOUCHED, "won", "lost", "recycled"}]
    if worked:
        assert "accepted" in seen[: seen.index(worked[0])]
    if "disqualified" in seen:
        assert {*life.TOUCHED} & {*seen}
    assert sum(state in ENDED for state in seen) <= 1
