"""Records of leads as they are received: what is new about them, and since when; nothing else."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from features.attributes import as_text
from serving.store import items
from serving.store.call import Call
from serving.store.held import Record, listed, row_of
from serving.store.items import Lead, Result, Value
from serving.store.tables import changes, leads
from training.scorer import OBJECTED

NO_RECORD = items.rejected(
    "missing", "created_at", "is required: there is no record of this lead yet"
)
Said = dict[str, list[tuple[int, str | None]]]
"""Of each attribute the moments since when its values hold, ascending, and the values."""


def store(
    connection: sa.Connection,
    sent: Sequence[Lead],
    held: Mapping[str, Record],
    gone: Set[str],
    call: Call,
) -> tuple[list[Result], dict[str, Record]]:
    """Store what is new about leads.

    What the first record says holds since the lead was created; what differs later, since it is
    said to have changed, else since now. A value that holds at that moment already adds nothing.

    Parameters
    ----------
    connection : sa.Connection
    sent : sequence of Lead
        Of one lead several times, too: one after the other.
    held : mapping of lead_id to Record
        Those that are known.
    gone : set of str
        Leads that were erased.
    call : Call

    Returns
    -------
    results : list of Result
        One an item, in the same order.
    records : dict of lead_id to Record
        `held` as it is now.
    """
    intake = _Intake(dict(held), _said(connection, {lead.lead_id for lead in sent} & held.keys()))
    results = [intake.take(lead, gone, call) for lead in sent]
    _write(connection, held, intake, call.now_us)
    return results, intake.records


@dataclass
class _Intake:
    """What is known of leads while the items of a request are taken one by one."""

    records: dict[str, Record]
    said: dict[str, Said]
    changed: list[dict[str, Any]] = field(default_factory=list)

    def take(self, lead: Lead, gone: Set[str], call: Call) -> Result:
        known = self.records.get(lead.lead_id)
        refusal = _refusal(lead, known, gone, call)
        if refusal is not None:
            return refusal
        record = known or _first(lead, call.now_us)
        self.records[lead.lead_id] = _amended(record, lead)
        since_us = call.now_us if known else record.created_us
        if lead.changed_us is not None:
            since_us = min(lead.changed_us, call.now_us)
        news = self._attributes(lead, since_us, call.now_us)
        if known is None:
            return _result("stored", lead, call.now_us, new=True)
        if news or self.records[lead.lead_id] != known:
            return _result("updated", lead, call.now_us, new=False)
        return items.DUPLICATE

    def _attributes(self, lead: Lead, since_us: int, now_us: int) -> bool:
        said = self.said[lead.lead_id]
        news = False
        for name, given in lead.attributes.items():
            value = as_csv(given)
            held = said.setdefault(name, [])
            at = bisect_right(held, since_us, key=itemgetter(0))
            if value == (held[at - 1][1] if at else None):
                continue
            held.insert(at, (since_us, value))
            row = {"lead_id": lead.lead_id, "attribute": name, "value": value}
            self.changed.append(row | {"changed_us": since_us, "received_us": now_us})
            news = True
        return news


def as_csv(value: Value) -> str | None:
    """Return what a cell of a CSV file would say; None for an empty one.

    >>> as_csv(120.0), as_csv(True), as_csv(0.1), as_csv("")
    ('120', 'true', '0.1', None)
    """
    return None if value is None else as_text(value) or None


def _refusal(lead: Lead, known: Record | None, gone: Set[str], call: Call) -> Result | None:
    if lead.lead_id in gone:
        return items.erased()
    if lead.changed_us is not None:
        ahead = items.ahead("changed_at", lead.changed_us, call.now_us)
        if ahead is not None:
            return ahead
    if lead.created_us is None:
        return NO_RECORD if known is None else None
    if known is None:
        return items.ahead("created_at", lead.created_us, call.now_us, call.policy.skew_us)
    if lead.assumed or min(lead.created_us, known.received_us) == known.created_us:
        return None
    detail = "is another moment than this lead's record has, and that is a fact: leave it out"
    return items.rejected(items.CONFLICT, "created_at", detail)


def _first(lead: Lead, now_us: int) -> Record:
    """Return the record of a lead that has none."""
    assert lead.created_us is not None  # noqa: S101  # else it was refused
    return Record(lead.lead_id, min(lead.created_us, now_us), now_us)


def _amended(record: Record, lead: Lead) -> Record:
    if lead.account_id is not None:
        record = replace(record, account_id=lead.account_id)
    if lead.suppress is not None:
        reasons = dict.fromkeys(lead.suppress)
        if OBJECTED in record.suppress:
            reasons.setdefault(OBJECTED)
        record = replace(record, suppress=tuple(reasons))
    return record


def _result(status: items.Status, lead: Lead, now_us: int, *, new: bool) -> Result:
    if new and lead.created_us is not None and lead.created_us > now_us:
        return items.clamped(status, "created_at")
    if lead.changed_us is not None and lead.changed_us > now_us:
        return items.clamped(status, "changed_at")
    return Result(status)


def _said(connection: sa.Connection, lead_ids: Iterable[str]) -> dict[str, Said]:
    """Return what the attributes of leads said until now."""
    found: dict[str, Said] = defaultdict(dict)
    wanted = sorted(lead_ids)
    if wanted:
        columns = changes.c.lead_id, changes.c.attribute, changes.c.changed_us, changes.c.value
        query = sa.select(*columns).where(changes.c.lead_id.in_(wanted))
        for row in connection.execute(query.order_by(changes.c.changed_us, changes.c.change_id)):
            of_lead = found[row.lead_id]
            of_lead.setdefault(row.attribute, []).append((row.changed_us, row.value))
    return found


def _write(
    connection: sa.Connection, held: Mapping[str, Record], intake: _Intake, now_us: int
) -> None:
    made = [record for lead_id, record in intake.records.items() if lead_id not in held]
    amended = [
        record
        for lead_id, record in intake.records.items()
        if lead_id in held and record != held[lead_id]
    ]
    if made:
        connection.execute(sa.insert(leads), [row_of(record, now_us) for record in made])
    if amended:
        update = (
            sa.update(leads)
            .where(leads.c.lead_id == sa.bindparam("lead"))
            .values(account_id=sa.bindparam("account"), suppress=sa.bindparam("reasons"))
        )
        rows = [
            {"lead": each.lead_id, "account": each.account_id, "reasons": listed(each.suppress)}
            for each in amended
        ]
        connection.execute(update, rows)
    if intake.changed:
        connection.execute(sa.insert(changes), intake.changed)
