"""The tables of the service's database; how they came to be stands in the migrations.

All moments are microseconds since the epoch (UTC), in columns that end in ``_us``: databases differ
in what they keep of a time, and none of an integer.
"""

import sqlalchemy as sa

ID, NAME, KEY = 256, 200, 64
"""Characters of an id that a client gave, of a name, and of an id that is made here."""

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
"""A number that the database gives; SQLite counts only integers."""


def _us(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable)


leads = sa.Table(
    "leads",
    metadata,
    sa.Column("lead_id", sa.String(ID), primary_key=True),
    _us("created_us"),
    _us("received_us"),
    sa.Column("account_id", sa.String(ID)),
    sa.Column("suppress", sa.Text, nullable=False),
    sa.Column("merged_into", sa.String(ID)),
    _us("merged_us", nullable=True),
    sa.Column("episode", sa.Integer, nullable=False),
    sa.Column("inquiry_seq", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("decision_id", SERIAL),
    _us("changed_us"),
    _us("scored_us", nullable=True),
    sa.Index("ix_leads_received_us_lead_id", "received_us", "lead_id"),
    sa.Index(
        "ix_leads_merged_into",
        "merged_into",
        sqlite_where=sa.text("merged_into IS NOT NULL"),
        postgresql_where=sa.text("merged_into IS NOT NULL"),
    ),
)
"""One row a lead that has a record.

`suppress` is a JSON list; `changed_us` is when anything about it was last accepted and `scored_us`
the moment its current decision (`decision_id`) was made: it is fresh where that is not before
`changed_us`. `episode` counts its hand-offs; `inquiry_seq` is the last inbound inquiry that was
acted upon, also of those merged into it."""

merges = sa.Table(
    "merges",
    metadata,
    sa.Column("merge_id", SERIAL, primary_key=True),
    sa.Column("lead_id", sa.String(ID), nullable=False, index=True),
    sa.Column("merged_into", sa.String(ID), nullable=False, index=True),
    _us("merged_us"),
    sqlite_autoincrement=True,
)
"""Append-only: which lead each one was since when; `leads` holds the newest of them.

A lead that goes on as another takes along those that were merged into it: one row each."""

changes = sa.Table(
    "changes",
    metadata,
    sa.Column("change_id", SERIAL, primary_key=True),
    sa.Column("lead_id", sa.String(ID), nullable=False),
    sa.Column("attribute", sa.String(NAME), nullable=False),
    sa.Column("value", sa.Text),
    _us("changed_us"),
    _us("received_us"),
    sa.Index("ix_changes_lead_id_attribute", "lead_id", "attribute"),
    sqlite_autoincrement=True,
)
"""What attributes said, and since when; null where one was emptied."""

events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True),
    sa.Column("source", sa.String(ID), nullable=False),
    sa.Column("event_id", sa.String(ID), nullable=False),
    sa.Column("lead_id", sa.String(ID), nullable=False),
    sa.Column("event_type", sa.String(NAME), nullable=False),
    sa.Column("channel", sa.String(NAME)),
    sa.Column("value", sa.Double),
    _us("occurred_us"),
    _us("said_us", nullable=True),
    _us("recorded_us", nullable=True),
    _us("received_us"),
    sa.Column("verified", sa.Boolean, nullable=False),
    sa.Column("unverified_seq", sa.BigInteger),
    sa.UniqueConstraint("source", "event_id"),
    sa.Index("ix_events_lead_id_occurred_us", "lead_id", "occurred_us"),
    sqlite_autoincrement=True,
)
"""Append-only, but for the mark of what a machine did.

`verified` turns false where a later event shows it, and `unverified_seq` is then the `seq` of that
one, so that a past score can be made again. `recorded_us` is when it became known, as the sender
says, if they do. `said_us` is the moment as the sender's clock had it, where that was not
`occurred_us`: 0 where it told none."""

outcomes = sa.Table(
    "outcomes",
    metadata,
    sa.Column("lead_id", sa.String(ID), primary_key=True),
    sa.Column("closed_us", sa.BigInteger, primary_key=True),
    sa.Column("outcome", sa.String(8), nullable=False),
    sa.Column("amount", sa.Double),
    _us("recorded_us", nullable=True),
    _us("received_us"),
)
"""Append-only."""

models = sa.Table(
    "models",
    metadata,
    sa.Column("digest", sa.String(KEY), primary_key=True),
    sa.Column("name", sa.String(ID), primary_key=True),
    sa.Column("version", sa.String(ID), primary_key=True),
    sa.Column("horizon_days", sa.Integer, nullable=False),
    sa.Column("rule", sa.Text, nullable=False),
    _us("first_used_us"),
)
"""Every model that decided here, with its hand-off rule as JSON."""

decisions = sa.Table(
    "decisions",
    metadata,
    sa.Column("decision_id", SERIAL, primary_key=True),
    sa.Column("lead_id", sa.String(ID), nullable=False),
    _us("as_of_us"),
    _us("decided_us"),
    sa.Column("cause", sa.String(16), nullable=False),
    sa.Column("score", sa.Double),
    sa.Column("percentile", sa.Double),
    sa.Column("grade", sa.String(1)),
    sa.Column("decision", sa.String(16), nullable=False),
    sa.Column("why", sa.String(NAME), nullable=False),
    sa.Column("reasons", sa.Text, nullable=False),
    sa.Column("features_digest", sa.String(KEY), nullable=False),
    sa.Column("model_digest", sa.String(KEY), nullable=False),
    sa.Column("model_name", sa.String(ID), nullable=False),
    sa.Column("model_version", sa.String(ID), nullable=False),
    sa.Column("threshold", sa.Double),
    sa.Column("margin", sa.Double, nullable=False),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
    sa.Column("last_change_id", sa.BigInteger, nullable=False),
    sa.Column("last_merge_id", sa.BigInteger, nullable=False),
    sa.Column("suppress", sa.Text, nullable=False),
    sa.Index("ix_decisions_lead_id_decision_id", "lead_id", "decision_id"),
    sqlite_autoincrement=True,
)
"""Append-only. `last_seq` and `last_change_id` say what was received by then, `last_merge_id` who
had been merged into the lead; 0 for nothing.

`threshold` is null where no score reaches it; `margin` is what kept a flagged lead flagged.
"""

handoffs = sa.Table(
    "handoffs",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True),
    sa.Column("handoff_id", sa.String(KEY), nullable=False, unique=True),
    sa.Column("lead_id", sa.String(ID), nullable=False),
    sa.Column("episode", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("decision_id", sa.BigInteger, nullable=False),
    sa.Column("score", sa.Double),
    sa.Column("reasons", sa.Text, nullable=False),
    _us("created_us"),
    _us("proposed_us", nullable=True),
    _us("due_us", nullable=True),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("why", sa.String(NAME)),
    _us("again_us", nullable=True),
    sa.Column("again_on", sa.String(16)),
    sa.Column("again_after", sa.BigInteger),
    sa.UniqueConstraint("lead_id", "episode"),
    sa.Index("ix_handoffs_status_seq", "status", "seq"),
    sa.Index("ix_handoffs_proposed_us", "proposed_us"),
    sqlite_autoincrement=True,
)
"""One a lead and episode. `proposed_us` is null of one that waited for a place and never got it.

`again_us` and `again_on` are the re-entry condition of one that ended: not before a moment, and
``engagement`` or ``repair`` where that must have come after the event or change `again_after`;
``never``."""

steps = sa.Table(
    "steps",
    metadata,
    sa.Column("handoff_id", sa.String(KEY), primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("lead_id", sa.String(ID), nullable=False, index=True),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("status", sa.String(16), nullable=False),
    _us("at_us"),
    _us("received_us"),
    _us("until_us", nullable=True),
    sa.Column("why", sa.String(NAME)),
    sa.Column("reason", sa.Text),
    sa.Column("key_id", sa.String(KEY)),
)
"""Append-only: what happened to a hand-off, and the version and status that it got by it."""

messages = sa.Table(
    "messages",
    metadata,
    sa.Column("seq", SERIAL, primary_key=True),
    sa.Column("message_id", sa.String(KEY), nullable=False, unique=True),
    sa.Column("type", sa.String(NAME), nullable=False),
    sa.Column("lead_id", sa.String(ID), nullable=False, index=True),
    sa.Column("payload", sa.Text, nullable=False),
    _us("created_us"),
    sqlite_autoincrement=True,
)
"""The outbox: what is told to others, with the body as it is signed and sent."""

endpoints = sa.Table(
    "endpoints",
    metadata,
    sa.Column("endpoint_id", sa.String(KEY), primary_key=True),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("types", sa.Text, nullable=False),
    sa.Column("secrets", sa.Text, nullable=False),
    _us("created_us"),
    _us("disabled_us", nullable=True),
    sa.Column("why_disabled", sa.String(NAME)),
)
"""Who is told: types of messages (JSON list, empty for all) and secrets, the newest first."""

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("message_id", sa.String(KEY), primary_key=True),
    sa.Column("endpoint_id", sa.String(KEY), primary_key=True),
    sa.Column("attempts", sa.Integer, nullable=False),
    _us("next_us", nullable=True),
    _us("locked_until_us", nullable=True),
    _us("delivered_us", nullable=True),
    sa.Column("last_status", sa.String(NAME)),
    sa.Index("ix_deliveries_next_us", "next_us"),
)
"""`next_us` is null where nothing is to be tried any more."""

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("key_id", sa.String(KEY), primary_key=True),
    sa.Column("client", sa.String(ID), nullable=False, index=True),
    sa.Column("secret_hash", sa.String(KEY), nullable=False),
    sa.Column("scopes", sa.String(NAME), nullable=False),
    _us("created_us"),
    _us("expires_us", nullable=True),
    _us("revoked_us", nullable=True),
    _us("last_used_us", nullable=True),
)

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("client", sa.String(ID), primary_key=True),
    sa.Column("key", sa.String(ID), primary_key=True),
    sa.Column("fingerprint", sa.String(KEY), nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("lead_ids", sa.Text, nullable=False),
    _us("created_us"),
    sa.Index("ix_idempotency_created_us", "created_us"),
)
"""Answers to be given again; `lead_ids` is a JSON list, by which an erasure finds them."""

audit = sa.Table(
    "audit",
    metadata,
    sa.Column("audit_id", SERIAL, primary_key=True),
    _us("at_us"),
    sa.Column("key_id", sa.String(KEY)),
    sa.Column("client", sa.String(ID), nullable=False),
    sa.Column("action", sa.String(NAME), nullable=False),
    sa.Column("lead_hash", sa.String(KEY), index=True),
    sa.Column("items", sa.Integer, nullable=False),
    sa.Column("request_id", sa.String(KEY), nullable=False),
    sqlite_autoincrement=True,
)
"""Every write; a lead appears as the hash that a tombstone of it would have."""

tombstones = sa.Table(
    "tombstones",
    metadata,
    sa.Column("lead_hash", sa.String(KEY), primary_key=True),
    _us("erased_us"),
    sa.Column("proof", sa.Text, nullable=False),
)

facts = sa.Table(
    "facts",
    metadata,
    sa.Column("name", sa.String(KEY), primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
"""What there is one of: the salt of the hashes."""

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("name", sa.String(KEY), primary_key=True),
    _us("ran_us", nullable=True),
    _us("locked_until_us", nullable=True),
)
"""What runs by the clock, in one process at a time."""

HISTORY = (leads, changes, events, outcomes)
"""What a model learns from."""
