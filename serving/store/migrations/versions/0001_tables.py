"""The history, decisions, hand-offs, messages and keys; and the salt of the database's hashes."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("audit_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=True),
        sa.Column("client", sa.String(length=256), nullable=False),
        sa.Column("action", sa.String(length=200), nullable=False),
        sa.Column("lead_hash", sa.String(length=64), nullable=True),
        sa.Column("items", sa.Integer(), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("audit_id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_audit_lead_hash"), "audit", ["lead_hash"], unique=False)
    op.create_table(
        "changes",
        sa.Column(
            "change_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("lead_id", sa.String(length=256), nullable=False),
        sa.Column("attribute", sa.String(length=200), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("change_id", name=op.f("pk_changes")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_changes_lead_id_attribute", "changes", ["lead_id", "attribute"], unique=False
    )
    op.create_table(
        "decisions",
        sa.Column(
            "decision_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("lead_id", sa.String(length=256), nullable=False),
        sa.Column("as_of_us", sa.BigInteger(), nullable=False),
        sa.Column("decided_us", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.String(length=16), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("percentile", sa.Double(), nullable=True),
        sa.Column("grade", sa.String(length=1), nullable=True),
        sa.Column("decision", sa.String(length=16), nullable=False),
        sa.Column("why", sa.String(length=200), nullable=False),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("features_digest", sa.String(length=64), nullable=False),
        sa.Column("model_digest", sa.String(length=64), nullable=False),
        sa.Column("model_name", sa.String(length=256), nullable=False),
        sa.Column("model_version", sa.String(length=256), nullable=False),
        sa.Column("threshold", sa.Double(), nullable=True),
        sa.Column("margin", sa.Double(), nullable=False),
        sa.Column("last_seq", sa.BigInteger(), nullable=False),
        sa.Column("last_change_id", sa.BigInteger(), nullable=False),
        sa.Column("last_merge_id", sa.BigInteger(), nullable=False),
        sa.Column("suppress", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("decision_id", name=op.f("pk_decisions")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_decisions_lead_id_decision_id", "decisions", ["lead_id", "decision_id"], unique=False
    )
    op.create_table(
        "deliveries",
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("endpoint_id", sa.String(length=64), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_us", sa.BigInteger(), nullable=True),
        sa.Column("locked_until_us", sa.BigInteger(), nullable=True),
        sa.Column("delivered_us", sa.BigInteger(), nullable=True),
        sa.Column("last_status", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("message_id", "endpoint_id", name=op.f("pk_deliveries")),
    )
    op.create_index("ix_deliveries_next_us", "deliveries", ["next_us"], unique=False)
    op.create_table(
        "endpoints",
        sa.Column("endpoint_id", sa.String(length=64), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("types", sa.Text(), nullable=False),
        sa.Column("secrets", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("disabled_us", sa.BigInteger(), nullable=True),
        sa.Column("why_disabled", sa.String(length=200), nullable=True),
        sa.PrimaryKeyConstraint("endpoint_id", name=op.f("pk_endpoints")),
    )
    op.create_table(
        "events",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("source", sa.String(length=256), nullable=False),
        sa.Column("event_id", sa.String(length=256), nullable=False),
        sa.Column("lead_id", sa.String(length=256), nullable=False),
        sa.Column("event_type", sa.String(length=200), nullable=False),
        sa.Column("channel", sa.String(length=200), nullable=True),
        sa.Column("value", sa.Double(), nullable=True),
        sa.Column("occurred_us", sa.BigInteger(), nullable=False),
        sa.Column("said_us", sa.BigInteger(), nullable=True),
        sa.Column("recorded_us", sa.BigInteger(), nullable=True),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("verified", sa.Boolean(), nullable=False),
        sa.Column("unverified_seq", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_events")),
        sa.UniqueConstraint("source", "event_id", name=op.f("uq_events_source_event_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_events_lead_id_occurred_us", "events", ["lead_id", "occurred_us"], unique=False
    )
    op.create_table(
        "facts",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_facts")),
    )
    op.create_table(
        "handoffs",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("handoff_id", sa.String(length=64), nullable=False),
        sa.Column("lead_id", sa.String(length=256), nullable=False),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("decision_id", sa.BigInteger(), nullable=False),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("reasons", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("proposed_us", sa.BigInteger(), nullable=True),
        sa.Column("due_us", sa.BigInteger(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("why", sa.String(length=200), nullable=True),
        sa.Column("again_us", sa.BigInteger(), nullable=True),
        sa.Column("again_on", sa.String(length=16), nullable=True),
        sa.Column("again_after", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_handoffs")),
        sa.UniqueConstraint("handoff_id", name=op.f("uq_handoffs_handoff_id")),
        sa.UniqueConstraint("lead_id", "episode", name=op.f("uq_handoffs_lead_id_episode")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_handoffs_proposed_us", "handoffs", ["proposed_us"], unique=False)
    op.create_index("ix_handoffs_status_seq", "handoffs", ["status", "seq"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("client", sa.String(length=256), nullable=False),
        sa.Column("key", sa.String(length=256), nullable=False),
        sa.Column("fingerprint", sa.String(length=64), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("lead_ids", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("client", "key", name=op.f("pk_idempotency")),
    )
    op.create_index("ix_idempotency_created_us", "idempotency", ["created_us"], unique=False)
    op.create_table(
        "jobs",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("ran_us", sa.BigInteger(), nullable=True),
        sa.Column("locked_until_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_jobs")),
    )
    op.create_table(
        "keys",
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("client", sa.String(length=256), nullable=False),
        sa.Column("secret_hash", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.String(length=200), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=True),
        sa.Column("revoked_us", sa.BigInteger(), nullable=True),
        sa.Column("last_used_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("key_id", name=op.f("pk_keys")),
    )
    op.create_index(op.f("ix_keys_client"), "keys", ["client"], unique=False)
    op.create_table(
        "leads",
        sa.Column("lead_id", sa.String(length=256), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.String(length=256), nullable=True),
        sa.Column("suppress", sa.Text(), nullable=False),
        sa.Column("merged_into", sa.String(length=256), nullable=True),
        sa.Column("merged_us", sa.BigInteger(), nullable=True),
        sa.Column("episode", sa.Integer(), nullable=False),
        sa.Column("inquiry_seq", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column(
            "decision_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.Column("scored_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("lead_id", name=op.f("pk_leads")),
    )
    op.create_index(
        op.f("ix_leads_merged_into"),
        "leads",
        ["merged_into"],
        unique=False,
        sqlite_where=sa.text("merged_into IS NOT NULL"),
        postgresql_where=sa.text("merged_into IS NOT NULL"),
    )
    op.create_index(
        "ix_leads_received_us_lead_id", "leads", ["received_us", "lead_id"], unique=False
    )
    op.create_table(
        "merges",
        sa.Column("merge_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("lead_id", sa.String(length=256), nullable=False),
        sa.Column("merged_into", sa.String(length=256), nullable=False),
        sa.Column("merged_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("merge_id", name=op.f("pk_merges")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_merges_lead_id"), "merges", ["lead_id"], unique=False)
    op.create_index(op.f("ix_merges_merged_into"), "merges", ["merged_into"], unique=False)
    op.create_table(
        "messages",
        sa.Column("seq", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("message_id", sa.String(length=64), nullable=False),
        sa.Column("type", sa.String(length=200), nullable=False),
        sa.Column("lead_id", sa.String(length=256), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_messages")),
        sa.UniqueConstraint("message_id", name=op.f("uq_messages_message_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_messages_lead_id"), "messages", ["lead_id"], unique=False)
    op.create_table(
        "models",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=256), nullable=False),
        sa.Column("version", sa.String(length=256), nullable=False),
        sa.Column("horizon_days", sa.Integer(), nullable=False),
        sa.Column("rule", sa.Text(), nullable=False),
        sa.Column("first_used_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", "name", "version", name=op.f("pk_models")),
    )
    op.create_table(
        "outcomes",
        sa.Column("lead_id", sa.String(length=256), nullable=False),
        sa.Column("closed_us", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.String(length=8), nullable=False),
        sa.Column("amount", sa.Double(), nullable=True),
        sa.Column("recorded_us", sa.BigInteger(), nullable=True),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("lead_id", "closed_us", name=op.f("pk_outcomes")),
    )
    op.create_table(
        "steps",
        sa.Column("handoff_id", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("lead_id", sa.String(length=256), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("at_us", sa.BigInteger(), nullable=False),
        sa.Column("received_us", sa.BigInteger(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=True),
        sa.Column("why", sa.String(length=200), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("key_id", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("handoff_id", "version", name=op.f("pk_steps")),
    )
    op.create_index(op.f("ix_steps_lead_id"), "steps", ["lead_id"], unique=False)
    op.create_table(
        "tombstones",
        sa.Column("lead_hash", sa.String(length=64), nullable=False),
        sa.Column("erased_us", sa.BigInteger(), nullable=False),
        sa.Column("proof", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("lead_hash", name=op.f("pk_tombstones")),
    )
    facts = sa.table("facts", sa.column("name"), sa.column("value"))
    op.execute(facts.insert().values(name="salt", value=secrets.token_hex(32)))


def downgrade() -> None:
    op.drop_table("tombstones")
    op.drop_index(op.f("ix_steps_lead_id"), table_name="steps")
    op.drop_table("steps")
    op.drop_table("outcomes")
    op.drop_table("models")
    op.drop_index(op.f("ix_messages_lead_id"), table_name="messages")
    op.drop_table("messages")
    op.drop_index(op.f("ix_merges_merged_into"), table_name="merges")
    op.drop_index(op.f("ix_merges_lead_id"), table_name="merges")
    op.drop_table("merges")
    op.drop_index(op.f("ix_leads_merged_into"), table_name="leads")
    op.drop_table("leads")
    op.drop_index(op.f("ix_keys_client"), table_name="keys")
    op.drop_table("keys")
    op.drop_table("jobs")
    op.drop_index("ix_idempotency_created_us", table_name="idempotency")
    op.drop_table("idempotency")
    op.drop_index("ix_handoffs_proposed_us", table_name="handoffs")
    op.drop_index("ix_handoffs_status_seq", table_name="handoffs")
    op.drop_table("handoffs")
    op.drop_table("facts")
    op.drop_index("ix_events_lead_id_occurred_us", table_name="events")
    op.drop_table("events")
    op.drop_table("endpoints")
    op.drop_index("ix_deliveries_next_us", table_name="deliveries")
    op.drop_table("deliveries")
    op.drop_index("ix_decisions_lead_id_decision_id", table_name="decisions")
    op.drop_table("decisions")
    op.drop_index("ix_changes_lead_id_attribute", table_name="changes")
    op.drop_table("changes")
    op.drop_index(op.f("ix_audit_lead_hash"), table_name="audit")
    op.drop_table("audit")
