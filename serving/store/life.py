"""The life of a hand-off: its states, and what may happen in each; when it does is not here."""

from dataclasses import dataclass

WAITING, PROPOSED, ACCEPTED = "waiting", "proposed", "accepted"
CONTACTED, APPOINTMENT, VISIT, CLOSING = "contacted", "appointment", "visit", "closing"
UNTAKEN = (WAITING, PROPOSED)
WORKED = (ACCEPTED, CONTACTED, APPOINTMENT, VISIT, CLOSING)
TOUCHED = (CONTACTED, APPOINTMENT, VISIT, CLOSING)
OPEN = (*UNTAKEN, *WORKED)
"""States that are not the end; a lead has at most one hand-off in any of them."""

STATES = {
    WAITING: "flagged, but sales has as many this week as it can work: the best score is next",
    PROPOSED: "flagged: sales accepts or rejects it before any contact, within the clock's hours",
    ACCEPTED: "sales has taken it",
    CONTACTED: "sales has spoken with the lead",
    APPOINTMENT: "an appointment is made",
    VISIT: "the lead was visited",
    CLOSING: "sales has tried to close, once or more often",
    "won": "closed, and won",
    "lost": "closed, and lost",
    "disqualified": "found after contact to be none that will buy: learned from as lost",
    "recycled": "back to nurturing, for a while",
    "rejected": "sent back by sales before contact: never learned from as lost",
    "expired": "back to marketing: nobody took it in time, it cooled, or the lead was suppressed",
    "overridden": "a person took the flag back, for a while",
}
"""Every state and what it means, in the order in which they come."""

ENDED = tuple(state for state in STATES if state not in OPEN)


@dataclass(frozen=True)
class Action:
    """What may happen to a hand-off.

    Attributes
    ----------
    to : str
        The state it leads to.
    of : tuple of str
        The states in which it is allowed.
    says : str
    """

    to: str
    of: tuple[str, ...]
    says: str


ACTIONS = {
    "accept": Action(ACCEPTED, (PROPOSED,), "sales takes it"),
    "reject": Action("rejected", (PROPOSED,), "sales sends it back before contact, and says why"),
    "contact": Action(CONTACTED, (ACCEPTED,), "sales has spoken with the lead"),
    "appointment": Action(APPOINTMENT, (ACCEPTED, CONTACTED), "an appointment is made"),
    "visit": Action(VISIT, (ACCEPTED, CONTACTED, APPOINTMENT), "the lead was visited"),
    "closing": Action(CLOSING, WORKED, "sales tried to close; each attempt is kept"),
    "won": Action("won", WORKED, "closed and won: the outcome is written too"),
    "lost": Action("lost", WORKED, "closed and lost: the outcome is written too"),
    "recycle": Action("recycled", WORKED, "back to nurturing, with a reason"),
    "disqualify": Action(
        "disqualified", TOUCHED, "will not buy, with a reason: an outcome `lost` is written too"
    ),
    "override": Action(
        "overridden", (*UNTAKEN, ACCEPTED), "a person takes the flag back until a date"
    ),
}
"""What sales and other people do, by the name of its route."""

CLOCKWORK = {
    "wait": Action(WAITING, (WAITING,), "there is no place left this week"),
    "propose": Action(PROPOSED, (WAITING,), "handed to sales, and the clock starts"),
    "inquire": Action(PROPOSED, UNTAKEN, "the lead inquired on its own: it is worked at once"),
    "expire": Action("expired", UNTAKEN, "nobody took it in time, it cooled, or was suppressed"),
}
"""What the service does by itself; a hand-off begins as one that waits."""

EVERY = ACTIONS | CLOCKWORK


class NotAllowed(ValueError):
    """An action is not allowed in a state.

    Parameters
    ----------
    status, action : str
    """

    def __init__(self, status: str, action: str) -> None:
        self.allowed = allowed(status)
        now = ", ".join(self.allowed) or "none, it has ended"
        super().__init__(f"{action} is not allowed of a hand-off that is {status}; allowed: {now}")


def allowed(status: str) -> list[str]:
    """Return the actions of people that are allowed in a state.

    >>> allowed("proposed"), allowed("won")
    (['accept', 'reject', 'override'], [])
    """
    return [name for name, action in ACTIONS.items() if status in action.of]


def after(status: str, action: str) -> str:
    """Return the state that an action leads to.

    Raises
    ------
    NotAllowed

    Examples
    --------
    >>> after("accepted", "visit")
    'visit'
    >>> after("visit", "contact")
    Traceback (most recent call last):
    serving.store.life.NotAllowed: contact is not allowed of a hand-off that is visit; allowed: ...
    """
    if status not in EVERY[action].of:
        raise NotAllowed(status, action)
    return EVERY[action].to
