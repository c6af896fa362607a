"""Views of the history as the data contract has it, from which models learn.

A lead that was merged into another is that one; leads that objected are left out. Events that are
not verified have a type of their own. What sales did with hand-offs stands among the events.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TIMES = {
    "sqlite": "strftime('%Y-%m-%dT%H:%M:%S', {0} / 1000000, 'unixepoch')"
    " || printf('.%06dZ', {0} % 1000000)",
    "postgresql": "timestamptz 'epoch' + {0} * interval '1 microsecond'",
}
VIEWS = {
    "training_leads": """
        SELECT lead_id, {created_us} AS created_at, account_id FROM leads
        WHERE merged_into IS NULL AND suppress NOT LIKE '%"objected"%'""",
    "training_events": """
        SELECT coalesce(l.merged_into, e.lead_id) AS lead_id, {occurred_us} AS occurred_at,
               e.event_type || CASE WHEN e.verified THEN '' ELSE '_unverified' END AS event_type,
               e.channel, e.value, {recorded_us} AS recorded_at
        FROM events e LEFT JOIN leads l ON l.lead_id = e.lead_id
        WHERE l.suppress IS NULL OR l.suppress NOT LIKE '%"objected"%'
        UNION ALL
        SELECT coalesce(l.merged_into, s.lead_id), {at_us},
               CASE s.action WHEN 'accept' THEN 'handoff_accepted' WHEN 'contact' THEN 'call'
                   WHEN 'closing' THEN 'closing_attempt' ELSE s.action END,
               NULL, NULL, {received_us}
        FROM steps s LEFT JOIN leads l ON l.lead_id = s.lead_id
        WHERE s.action IN ('accept', 'contact', 'appointment', 'visit', 'closing')
          AND (l.suppress IS NULL OR l.suppress NOT LIKE '%"objected"%')""",
    "training_outcomes": """
        SELECT coalesce(l.merged_into, o.lead_id) AS lead_id, {closed_us} AS closed_at,
               o.outcome, o.amount, {recorded_us} AS recorded_at
        FROM outcomes o LEFT JOIN leads l ON l.lead_id = o.lead_id
        WHERE l.suppress IS NULL OR l.suppress NOT LIKE '%"objected"%'""",
    "training_changes": """
        SELECT coalesce(l.merged_into, c.lead_id) AS lead_id, {changed_us} AS changed_at,
               c.attribute, c.value
        FROM changes c LEFT JOIN leads l ON l.lead_id = c.lead_id
        WHERE l.suppress IS NULL OR l.suppress NOT LIKE '%"objected"%'""",
}
OF = {
    "created_us": "created_us",
    "occurred_us": "e.occurred_us",
    "at_us": "s.at_us",
    "received_us": "s.received_us",
    "closed_us": "o.closed_us",
    "changed_us": "c.changed_us",
}
RECORDED = {"training_events": "e.recorded_us", "training_outcomes": "o.recorded_us"}


def upgrade() -> None:
    time = TIMES[op.get_bind().dialect.name]
    for name, query in VIEWS.items():
        columns = {**OF, "recorded_us": RECORDED.get(name, "")}
        shown = query.format(**{each: time.format(column) for each, column in columns.items()})
        op.execute(sa.text(f"CREATE VIEW {name} AS {shown}"))


def downgrade() -> None:
    for name in VIEWS:
        op.execute(f"DROP VIEW {name}")
