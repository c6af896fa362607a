import json
import shutil
import sqlite3
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa

from serving import server
from serving.courier import Courier
from serving.settings import Settings
from serving.store import endpoints, erasure, outbox, tombstones
from serving.store.audit import hashed, salt_of
from serving.store.database import Database, DatabaseError
from serving.store.erasure import OF_LEADS
from serving.store.policy import Policy
from serving.store.retention import Retention
from serving.store.tables import (
    audit,
    deliveries,
    events,
    handoffs,
    idempotency,
    leads,
    merges,
    messages,
    outcomes,
    steps,
)
from serving.store.tables import tombstones as tombstones_table
from serving.webhooks import Sender
from tests.postgres import engine
from tests.receivers import receiver
from tests.scorers import json_leads
from tests.states import crm, put


@pytest.fixture
def service(database_url):
    with crm(database_url) as opened:
        yield opened


def fill(service, *lead_ids):
    """Give each lead a row in every table that can hold one."""
    full = [each for each in json_leads(1, 400) if each["events"] and each["attributes"]]
    put(service, *(full[at] | {"lead_id": each} for at, each in enumerate(lead_ids)))
    with service.database.writing() as connection:
        for number, lead_id in enumerate(lead_ids):
            of = {"lead_id": lead_id, "received_us": 1}
            handoff = {
                "handoff_id": f"h-{lead_id}", "lead_id": lead_id, "episode": 99, "kind": "flagged",
                "status": "proposed", "decision_id": number, "reasons": "[]", "proposed_us": 1,
                "created_us": 1, "version": 1,
            }  # fmt: skip
            step = {"version": 1, "action": "accept", "status": "accepted", "at_us": 1}
            connection.execute(outcomes.insert().values(**of, closed_us=1, outcome="won"))
            connection.execute(handoffs.insert().values(handoff))
            connection.execute(steps.insert().values(**of, **step, handoff_id=f"h-{lead_id}"))
            merged = {"lead_id": lead_id, "merged_into": "somebody", "merged_us": 1}
            connection.execute(merges.insert().values(merged))
            message_id = outbox.put(connection, "lead.outcome", lead_id, {"lead_id": lead_id}, 1)
            connection.execute(
                deliveries.insert().values(message_id=message_id, endpoint_id="e", attempts=0)
            )
            connection.execute(
                idempotency.insert().values(
                    client="crm", key=f"key of {number}", fingerprint="", status=200,
                    body=json.dumps({"id": lead_id}).encode(), created_us=1,
                    lead_ids=json.dumps([lead_id, "of another"]),
                )
            )  # fmt: skip


def merge(service, lead_id, into):
    with service.database.writing() as connection:
        own = leads.c.lead_id == lead_id
        connection.execute(leads.update().where(own).values(merged_into=into, merged_us=1))


def erase(service, lead_id, **options):
    return service.send("DELETE", f"/v1/leads/{lead_id}", **options)


def count(service, table):
    return service.rows(sa.select(sa.func.count()).select_from(table))[0][0]


def naming(service, lead_id):
    """Tell in which tables a text still names a lead."""
    with service.database.reading() as connection:
        return {
            table.name
            for table in leads.metadata.sorted_tables
            for row in connection.execute(sa.select(table)).all()
            if any(lead_id in repr(value) for value in row)
        }


def test_all_rows_of_a_lead_go_and_those_of_others_stay(service):
    fill(service, "erase-me", "keep-me")
    before = naming(service, "keep-me")
    assert naming(service, "erase-me") == before >= {table.name for table in OF_LEADS}
    proof = erase(service, "erase-me")
    assert proof.status_code == 200
    assert naming(service, "erase-me") == set()
    assert naming(service, "keep-me") == before
    assert count(service, deliveries) == 1
    rows = proof.json()["rows"]
    assert all(rows[table.name] for table in OF_LEADS)
    assert (rows["deliveries"], rows["idempotency"], rows["leads"]) == (1, 1, 1)


def test_the_proof_is_kept_and_names_nobody(service):
    fill(service, "erase-me")
    proof = erase(service, "erase-me").json()
    with service.database.reading() as connection:
        lead_hash = hashed("erase-me", salt_of(connection))
    assert proof["lead_hash"] == lead_hash
    assert proof["lead_hashes"] == [lead_hash]
    assert proof["key_id"] == service.token.split("_")[1]
    assert "erase-me" not in json.dumps(proof)
    service.now_us += 1_000_000
    again = erase(service, "erase-me")
    assert (again.status_code, again.json()) == (200, proof)


def test_the_audit_says_who_erased_whom_by_the_hash(service):
    fill(service, "erase-me")
    proof = erase(service, "erase-me", headers={"idempotency-key": "once"}).json()
    [row] = service.rows(sa.select(audit).where(audit.c.lead_hash == proof["lead_hash"]))
    assert (row.action, row.client) == ("DELETE /v1/leads/{lead_id}", "crm")
    assert count(service, idempotency) == 0  # the proof is the same without it


def test_a_lead_that_nobody_knows_is_told(service):
    refused = erase(service, "nobody")
    assert refused.status_code == 404
    assert refused.json()["errors"][0]["code"] == "unknown_lead"
    assert count(service, tombstones_table) == 0


def test_a_lead_of_which_only_events_came_is_erased_too(service):
    with service.database.writing() as connection:
        row = {"source": "crm", "event_type": "x", "occurred_us": 1, "received_us": 1}
        connection.execute(
            events.insert().values(**row, event_id="E-1", lead_id="only events", verified=True)
        )
    assert erase(service, "only events").json()["rows"]["events"] == 1
    assert count(service, events) == 0


def test_nothing_of_a_chain_of_mergers_stays(service):
    put(service, *json_leads(1, 4))
    for number in range(3):
        body = {"into": f"L-{number + 1}"}
        assert service.post(f"/v1/leads/L-{number}/merge", body).status_code == 200
    assert count(service, merges) == 1 + 2 + 3
    assert erase(service, "L-1").json()["rows"]["merges"] == 6
    assert [naming(service, f"L-{number}") for number in range(4)] == [set()] * 4


@pytest.mark.parametrize("asked", ["first-one", "twin"])
def test_merged_leads_go_together_whichever_is_named(service, asked):
    fill(service, "first-one", "twin", "other")
    merge(service, "twin", "first-one")
    proof = erase(service, asked).json()
    assert len(proof["lead_hashes"]) == 2
    assert (naming(service, "twin"), naming(service, "first-one")) == (set(), set())
    assert erase(service, "first-one").json() == erase(service, "twin").json() == proof
    assert "leads" in naming(service, "other")


@pytest.mark.parametrize("lead_id", ['a"b', "a\\b", "a%b", "a_b", "リード", "a'b", "A"])
def test_answers_of_leads_with_odd_ids_are_found_and_no_other(service, lead_id):
    others = [lead_id + "x", "x" + lead_id, lead_id.swapcase() + "y", "axb", "a"]
    with service.database.writing() as connection:
        for number, each in enumerate([lead_id, *others]):
            connection.execute(
                idempotency.insert().values(
                    client="crm", key=str(number), fingerprint="", status=200, body=b"{}",
                    lead_ids=json.dumps([each]), created_us=1,
                )
            )  # fmt: skip
    with service.database.writing() as connection:
        proof = erasure.erase(connection, lead_id, "k", 1)
    assert json.loads(proof or "")["rows"]["idempotency"] == 1
    assert {row.key for row in service.rows(sa.select(idempotency))} == {"1", "2", "3", "4", "5"}


def test_what_was_erased_is_known_when_it_comes_again(service):
    fill(service, "erase-me", "keep-me")
    erase(service, "erase-me")
    with service.database.writing() as connection:
        assert tombstones.erased(connection, ["erase-me", "keep-me", "new"]) == {"erase-me"}


def test_endpoints_are_told_whom_to_erase(service):
    with service.database.writing() as connection:
        endpoints.add(connection, "https://crm.example/", [], 1)
    fill(service, "first-one", "twin")
    merge(service, "twin", "first-one")
    proof = erase(service, "first-one").json()
    told = [json.loads(row.payload) for row in service.rows(sa.select(messages))]
    assert [each["type"] for each in told] == ["lead.erased"] * 2
    assert {each["data"]["lead_id"] for each in told} == {"first-one", "twin"}
    assert {each["data"]["proof_id"] for each in told} == {proof["proof_id"]}


def test_it_takes_the_scope_write(service):
    reader = service.key("reader", ["read", "score"])
    assert erase(service, "L-1", token=reader).status_code == 403


def test_an_erasure_that_cannot_be_noted_in_the_file_is_none(database_url, tmp_path):
    with crm(database_url) as service:
        fill(service, "keep-me")
        nowhere = tmp_path / "nowhere" / "file"
        refused = pytest.raises(DatabaseError, match="nothing was erased")
        with refused, service.database.writing() as connection:
            erasure.erase(connection, "keep-me", "k", 1, nowhere)
        assert "leads" in naming(service, "keep-me")
        assert count(service, tombstones_table) == 0


def test_the_file_is_written_before_the_answer(database_url, tmp_path):
    file = tmp_path / "tombstones.jsonl"
    with crm(database_url, tombstones_file=file) as service:
        fill(service, "a", "b")
        proofs = [erase(service, each).json() for each in "ab"]
        lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["proof"] for line in lines] == proofs
    assert [line["lead_hash"] for line in lines] == [proof["lead_hash"] for proof in proofs]


def test_a_line_that_was_broken_off_harms_no_other(tmp_path, caplog):
    file = tmp_path / "tombstones.jsonl"
    first, second = (tombstones.Tombstone(each, 1, '{"proof_id": "p"}') for each in "ab")
    tombstones.write(file, [first])
    with file.open("a") as torn:
        torn.write('{"lead_hash": "x", "era')
    tombstones.write(file, [second])
    assert tombstones.read(file) == {"a": first, "b": second}
    assert "line 2" in caplog.text


class Backups:
    """A database with a backup from before an erasure, and how it is put back."""

    def __init__(self, url, folder):
        self.url, self.folder = url, folder
        self.name = sa.make_url(url).database or ""

    def back_up(self):
        if self.url.startswith("sqlite"):
            with sqlite3.connect(self.name) as one, sqlite3.connect(self.folder / "b.db") as other:
                one.backup(other)
            one.close()
            other.close()
        else:
            self._run(f"CREATE DATABASE {self.name}_b TEMPLATE {self.name}")

    def restore(self):
        if self.url.startswith("sqlite"):
            for path in Path(self.name).parent.glob(Path(self.name).name + "*"):
                path.unlink()
            shutil.copy(self.folder / "b.db", self.name)
        else:
            self._run(f"DROP DATABASE {self.name} WITH (FORCE)")
            self._run(f"ALTER DATABASE {self.name}_b RENAME TO {self.name}")

    def _run(self, statement):
        with engine(sa.make_url(self.url).set(database="postgres")).connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").execute(sa.text(statement))


def started(url, file):
    """Open the database as the service does at its start."""
    return server._database(Settings(database_url=url, tombstones_file=file))


def test_a_restored_backup_does_not_bring_back_who_was_erased(database_url, tmp_path):
    file, backups = tmp_path / "tombstones.jsonl", Backups(database_url, tmp_path)
    with crm(database_url, tombstones_file=file) as service:
        fill(service, "erase-me", "twin", "keep-me")
        merge(service, "twin", "erase-me")
    backups.back_up()
    with crm(database_url, tombstones_file=file) as service:
        proof = erase(service, "erase-me").json()
    backups.restore()
    restored = SimpleNamespace(database=Database.open(database_url))
    assert "events" in naming(restored, "erase-me")  # the backup did bring them back
    restored.database.close()
    started(database_url, file).close()
    with crm(database_url, tombstones_file=file) as service:
        assert (naming(service, "erase-me"), naming(service, "twin")) == (set(), set())
        assert naming(service, "keep-me") >= {table.name for table in OF_LEADS}
        assert erase(service, "twin").json() == proof
    assert len(file.read_text().splitlines()) == 2


def test_a_file_that_is_new_gets_what_the_database_knows(database_url, tmp_path):
    file = tmp_path / "tombstones.jsonl"
    with crm(database_url) as service:
        fill(service, "erase-me")
        proof = erase(service, "erase-me").json()
    started(database_url, file).close()
    started(database_url, file).close()
    [line] = file.read_text().splitlines()
    assert json.loads(line)["proof"] == proof


def test_of_an_erased_lead_no_byte_stays_in_the_file(sqlite_url):
    with crm(sqlite_url) as service:
        many = [f"lead number {number:03}" for number in range(150)]
        fill(service, *many)
        for gone in many[::3]:
            assert erase(service, gone).status_code == 200
        Retention(service.database, service.policy).run(service.now_us)
        for number, lead_id in enumerate(many):
            assert (lead_id in held(sqlite_url)) == (number % 3 != 0), lead_id


def test_of_a_lead_whose_rows_were_never_moved_it_stays_not_even_until_then(sqlite_url):
    with crm(sqlite_url) as service:
        fill(service, "erase-me")
        assert "erase-me" in held(sqlite_url)
        erase(service, "erase-me")
        assert "erase-me" not in held(sqlite_url)


def test_a_message_about_an_erasure_leaves_no_byte_either(sqlite_url):
    policy = Policy(private_webhooks=True)
    with crm(sqlite_url, policy=policy) as service, receiver() as told:
        with service.database.writing() as connection:
            endpoints.add(connection, told.url, [], 1)
        fill(service, "erase-me")
        erase(service, "erase-me")
        assert "erase-me" in held(sqlite_url)
        sender = Sender(private=True)
        courier = Courier(service.database, sender, lambda: service.now_us, lambda: 0.0)
        courier.begin()
        courier.wait()
        assert [json.loads(body)["type"] for _, body in told.got] == ["lead.erased"]
        assert "erase-me" not in held(sqlite_url)


def held(url):
    """Give all that the database's files hold."""
    path = Path(sa.make_url(url).database or "")
    return b"".join(each.read_bytes() for each in path.parent.glob(path.name + "*")).decode(
        "latin-1"
    )


def test_the_log_waits_for_nobody_who_reads(sqlite_url):
    with crm(sqlite_url) as service:
        with service.database.reading() as connection:
            connection.execute(sa.select(leads)).all()
            fill(service, "L-1")
            assert not service.database.scrub()
        assert service.database.scrub()


@pytest.mark.postgres
def test_what_comes_in_at_the_same_time_comes_before_the_erasure_or_is_refused(postgres_url):
    database = Database.open(postgres_url)
    row = {"source": "crm", "event_type": "x", "occurred_us": 1, "received_us": 1}
    row |= {"event_id": "E-1", "lead_id": "L-1", "verified": True}
    proofs = []

    def erased():
        with database.writing() as connection:
            proofs.append(erasure.erase(connection, "L-1", "k", 1) or "")

    with database.writing() as connection:
        assert tombstones.erased(connection, ["L-1"]) == set()
        thread = threading.Thread(target=erased)
        thread.start()
        thread.join(0.3)
        connection.execute(events.insert().values(row))
    thread.join()
    assert json.loads(proofs[0])["rows"]["events"] == 1
    database.close()
