"""The pages of docs/ that are made from the code: `make docs` writes them, a test compares them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from features import catalogue, contract
from serving.settings import Settings, Stated
from serving.settings_listed import lines
from serving.store import life, reentry, verification

FOLDER = Path(__file__).resolve().parent
MADE = "<!-- Made from the code by `make docs`: change it there. -->"


def pages() -> dict[str, str]:
    """Give the text of every generated page by its file name."""
    return {
        "data-contract.md": data_contract(),
        "event-types.md": event_types(),
        "features.md": features(),
        "handoffs.md": handoffs(),
        "settings.md": settings(),
    }


def data_contract() -> str:
    """Describe the tables a user brings: their columns and rules."""
    title, _, rest = contract.to_markdown().partition("\n\n")
    return f"{title}\n\n{MADE}\n\n{rest}"


def event_types() -> str:
    """Describe the event types that have a meaning, and which events count as a machine's."""
    rows = [
        (
            f"`{name}`",
            each.english,
            each.japanese,
            each.channel,
            "sales" if name in catalogue.SALES_TYPES else "marketing",
            "by rule" if each.checked else "yes",
        )
        for name, each in catalogue.EVENT_TYPES.items()
        if name != catalogue.OTHER
    ]
    burst, seconds = verification.BURST, verification.BURST_US // verification.SECOND_US
    at_once = verification.AT_ONCE_US // verification.SECOND_US
    deliveries = " and ".join(f"`{name}`" for name in verification.DELIVERIES)
    parts = [
        "# Event types",
        MADE,
        "Other names are welcome: a type that a model did not learn counts as other activity. The "
        "channel is the one by nature; an event keeps the channel that it is sent with, and gets "
        "none where it has none, since a model learned from events as they are. Types of the sales "
        "process end what a lead is learned from, and are no features unless a config says so.",
        markdown(("type", "meaning", "意味", "channel", "process", "verified"), rows),
        "## Verified or not",
        f"Machines open and click, too. The service keeps such events and gives their type the "
        f"ending `{catalogue.UNVERIFIED}`, in scores and in training: they count apart. Marked are",
        f"- clicks, and opens, of which {burst} or more of one lead come within {seconds} seconds, "
        f"and opens within {seconds} seconds of such clicks: a scanner follows every link;\n"
        f"- opens and clicks within {at_once} seconds of a delivery, where the sender tells of it "
        f"({deliveries});\n"
        "- events by `/v1/track` and `/v1/batch` whose `context.userAgent` is a program's.",
        "A later event can show that earlier ones were a machine's: it does not matter in which "
        "order they come. A lone open or click is never marked: nothing tells it from a person's, "
        "and a model that learned from exported files knows it under its own name.",
    ]
    return "\n\n".join(parts) + "\n"


def features() -> str:
    """Describe the features of the standard event types, and what reasons speak of."""
    listed = catalogue.standard()
    rows = [
        (f"`{each.name}`", each.unit, each.window, each.concept, each.english, each.japanese)
        for each in listed
    ]
    concepts = [(f"`{name}`", *texts) for name, texts in catalogue.CONCEPTS.items()]
    parts = [
        "# Features",
        MADE,
        f"The {len(listed)} features of the standard event types; every other event type has the "
        "same ones, and each attribute of a lead adds one. Time windows end at `as_of`.",
        markdown(("name", "unit", "window", "concept", "meaning", "意味"), rows),
        "## Concepts",
        "The groups that reasons speak of.",
        markdown(("concept", "meaning", "意味"), concepts),
    ]
    return "\n\n".join(parts) + "\n"


def settings() -> str:
    """Describe every setting of the service."""
    listed = lines(Stated(Settings(), {}, ()))
    rows = [(f"`{each.name}`", _default(each.value), each.meaning) for each in listed]
    parts = [
        "# Settings of the service",
        MADE,
        *SETTINGS,
        markdown(("setting", "default", "meaning"), rows),
    ]
    return "\n\n".join(parts) + "\n"


def _default(value: object) -> str:
    """Return a default as a setting is written; that of a place depends on the machine."""
    if isinstance(value, Path):
        return ""
    written = str(value).lower() if isinstance(value, bool) else str(value)
    return f"`{'none' if value is None else written}`"


def handoffs() -> str:
    """Describe the life of a hand-off: its states, and what may happen in each."""
    actions = [
        (f"`{name}`", _codes(action.of), f"`{action.to}`", action.says)
        for name, action in life.ACTIONS.items()
    ]
    by_itself = [
        (f"`{name}`", _codes(action.of), f"`{action.to}`", action.says)
        for name, action in life.CLOCKWORK.items()
    ]
    rests = [*reentry.RECYCLE_DAYS.items(), ("anything else", reentry.USUAL_DAYS)]
    columns = ("action", "in", "to", "meaning")
    parts = [
        "# The life of a hand-off",
        MADE,
        HANDOFFS["life"],
        f"```mermaid\n{_diagram()}\n```",
        "## States",
        markdown(("state", "meaning"), [(f"`{n}`", says) for n, says in life.STATES.items()]),
        "## What people do",
        HANDOFFS["people"],
        markdown(columns, actions),
        "## What the service does by itself",
        HANDOFFS["service"],
        markdown(columns, by_itself),
        markdown(("`why` it expired", ""), [(f"`{n}`", s) for n, s in reentry.EXPIRIES.items()]),
        "## When a lead comes back",
        HANDOFFS["back"],
        markdown(("after", "comes back"), _returns()),
        "A recycled lead rests so many days, by how the reason begins:",
        markdown(("reason", "days"), [(name, str(days)) for name, days in rests]),
        "## What is learned from it",
        HANDOFFS["learned"],
    ]
    return "\n\n".join(parts) + "\n"


def _diagram() -> str:
    """Draw the states and what leads from one to the next; steps that are skipped are not drawn."""
    inside = {*life.WORKED}
    arrows: list[str] = []
    within: list[str] = []
    for name, action in life.EVERY.items():
        if action.to in inside and inside & {*action.of}:
            last = [state for state in action.of if state != action.to][-1]
            within += [
                f"{state} --> {action.to}: {name}" for state in dict.fromkeys((last, action.of[-1]))
            ]
        elif action.of == life.WORKED:
            arrows.append(f"worked --> {action.to}: {name}")
        else:
            arrows += [f"{state} --> {action.to}: {name}" for state in action.of]
    lines = ["stateDiagram-v2", f"    [*] --> {life.WAITING}", "    state worked {"]
    lines += [*(f"        {arrow}" for arrow in within), "    }"]
    return "\n".join([*lines, *(f"    {arrow}" for arrow in arrows)])


def _returns() -> list[tuple[str, str]]:
    """Say for each end, and each why that differs, when the lead comes back."""
    says = {
        reentry.ENGAGEMENT: "when it does something, received after that",
        reentry.REPAIR: "when its record is changed",
        reentry.NEVER: "never by itself",
        None: "as soon as the decision says so",
    }
    ends = {(state, ""): on for state, on in reentry.CONDITIONS.items()} | reentry.BY_WHY
    rows = [(f"`{state}`{why and f' ({why})'}", says[on]) for (state, why), on in ends.items()]
    return [*sorted(rows), ("`recycled`, `overridden`", "at its date")]


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


SETTINGS = (
    "Options of `leadqual serve` come first, then the environment, then `.env` in the working "
    "directory, then the file that `--settings` or `LEADQUAL_SETTINGS_FILE` names, then these "
    "defaults. `leadqual settings` prints what holds and where each value comes from, with "
    "passwords hidden.",
    "In the environment, in `.env` and in files that do not end in `.toml`: `LEADQUAL_PORT=9000`, "
    "`LEADQUAL_POLICY__SLA_HOURS=8`; a variable without content counts as not set. In a file that "
    "ends in `.toml`: `port = 9000`, and under `[policy]` `sla_hours = 8`. `none` stands for no "
    "value: with `LEADQUAL_POLICY__KEEP_AUDIT_DAYS=none` the audit is kept for ever.",
    "A key that is unknown is refused in files, with the nearest known one, and named on stderr "
    "where the environment has it. A value that cannot be used ends the command with exit code 2 "
    "and is named with its origin.",
)

HANDOFFS = {
    "life": (
        "A lead that reaches the threshold is *proposed* to sales, once a cycle (`episode`), "
        "whatever arrives at the same time. One that is suppressed (opted out, objected, "
        "customer, competitor, partner, open opportunity, or whatever else the CRM names) "
        "never is, and what sales has not taken up is withdrawn when that comes later. An "
        "inbound inquiry goes straight through, whatever the score (`kind`: `inbound`). Where "
        "the rule states how many leads sales can work a week (Monday to Sunday, UTC), so "
        "many are proposed and the others wait in order of their scores; inquiries do not "
        "wait, but count."
    ),
    "people": (
        '`POST /v1/handoffs/{id}/{action}` with `{"at"?, "reason"?, "until"?}`. `If-Match` '
        "says which `version` the sender knows: without it the answer is 428, with one that "
        "has passed 412. What is not allowed in a state is a 409 that lists in `allowed` what "
        "is. The same thing sent again, with the version that it was sent with, is answered "
        "as it was and done once; `at` may be left out the second time. Steps may be skipped "
        "(the figure shows none of that), never taken back; attempts to close may be repeated, "
        "and each is kept "
        "(`closing_attempts`). `reject`, `recycle`, `disqualify` and `override` need a "
        "`reason`, `override` also `until`. A rejection has a `kind` (`procedural`: mis- "
        "routed; `clerical`: the record is wrong or incomplete; `definitional`: outside the "
        "agreed criteria), or a reason that begins with it. A time `at` that is left out, or is "
        "further ahead than the service's clock may be off, is the moment of receipt; one before "
        "the hand-off was proposed, by more than that, is a 422."
    ),
    "service": (
        "A hand-off that nobody has taken up when its clock has run out (`due_at`: by default "
        "24 hours, an hour for an inquiry) goes back to marketing. So does one that was "
        "flagged and whose score has fallen clearly below the threshold. Every 30 seconds is "
        "looked for both, and for places that are free. An outcome that is sent to `POST "
        "/v1/outcomes` ends an open hand-off, too: what sales works becomes `won` or `lost`, "
        "what it has not taken up expires."
    ),
    "back": (
        "The lead is scored all the while. A date that was given as `until` is the whole "
        "condition, whatever the end; without one this holds. What counts as doing something "
        "is what the lead did itself: verified events, and none of the sales process. An "
        "inquiry waits for nothing, except after a win."
    ),
    "learned": (
        "`won` and `lost` write the outcome, closed at `at`; `disqualified` writes `lost`. "
        "Rejections, expiries, overrides and recycling write none: a lead that sales never "
        "worked is not lost. Accepting, contact, appointment, visit and attempts to close "
        "stand among the events that models learn from."
    ),
}
"""What the tables of the page on hand-offs do not say."""


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    r"""Lay out a table in Markdown.

    >>> print(markdown(("name", "unit"), [("age", "a | b")]))
    | name | unit |
    | --- | --- |
    | age | a \| b |
    """
    escaped = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [columns, ["---"] * len(columns), *escaped]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
