import threading
import time

import sqlalchemy as sa

from serving.store import tables
from serving.store.received import locked
from tests.states import crm, put


def test_who_waited_for_a_lead_sees_the_decision_that_was_made_meanwhile(database_url):
    with crm(database_url) as service:
        lead = {"lead_id": "L-1", "created_at": "2026-01-01T00:00:00Z"}
        event = {"event_type": "inquiry", "occurred_at": "2026-01-02T00:00:00Z"}
        put(service, lead | {"events": [event]})
        begun, seen = threading.Event(), []

        def wait():
            with service.database.writing() as connection:
                begun.set()
                seen.extend(locked(connection, ["L-1"]))

        waiting = threading.Thread(target=wait)
        with service.database.writing() as connection:
            locked(connection, ["L-1"])
            waiting.start()
            if not service.database.is_sqlite:  # there it waits before it begins
                begun.wait()
                time.sleep(0.3)
            row = connection.execute(sa.select(tables.decisions)).mappings().one()
            new = {name: row[name] for name in row if name != "decision_id"} | {"last_seq": 77}
            made = tables.decisions.insert().values(new).returning(tables.decisions.c.decision_id)
            decision_id = connection.execute(made).scalar_one()
            connection.execute(sa.update(tables.leads).values(decision_id=decision_id))
        waiting.join()
        assert [(row.decision_id, row.was_seq) for row in seen] == [(decision_id, 77)]
