import threading

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from features.findings import UsageError
from serving.store import migrations
from serving.store.database import PATIENT, TRIES, WAITS, Collision, Database, DatabaseError
from serving.store.tables import events, leads, metadata

LEAD = {
    "lead_id": "L-1",
    "created_us": 1_700_000_000_123_456,
    "received_us": 1,
    "suppress": "[]",
    "episode": 0,
    "changed_us": 1,
}
EVENT = {
    "source": "crm",
    "event_id": "E-1",
    "lead_id": "L-1",
    "event_type": "inquiry",
    "occurred_us": 1_700_000_000_000_001,
    "received_us": 1,
    "verified": True,
}


@pytest.fixture
def database(database_url):
    opened = Database.open(database_url)
    yield opened
    opened.close()


def count(database, table):
    with database.reading() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def test_the_migrations_make_the_tables_that_the_code_knows(database):
    with database.writing() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_every_migration_goes_down_and_up_with_rows_in_the_tables(database):
    with database.writing() as connection:
        connection.execute(leads.insert().values(LEAD))
        connection.execute(events.insert().values(EVENT))
    with database.writing() as connection:
        migrations.downgrade(connection, "0001")
        assert migrations.current(connection) == "0001"
        migrations.upgrade(connection)
    assert (count(database, leads), count(database, events)) == (1, 1)
    with database.writing() as connection:
        migrations.downgrade(connection, "base")
        assert not {*sa.inspect(connection).get_table_names()} & {*metadata.tables}
        migrations.upgrade(connection)
    assert count(database, leads) == 0


def test_a_block_that_fails_leaves_nothing(database):
    with pytest.raises(ZeroDivisionError), database.writing() as connection:
        connection.execute(leads.insert().values(LEAD))
        1 / 0  # noqa: B018
    assert count(database, leads) == 0


def test_readers_see_one_state_and_wait_for_nobody(database):
    with database.reading() as connection:
        total = sa.select(sa.func.count()).select_from(leads)
        assert connection.execute(total).scalar_one() == 0
        with database.writing() as other:
            other.execute(leads.insert().values(LEAD))
        assert connection.execute(total).scalar_one() == 0
    assert count(database, leads) == 1


def test_writers_of_one_process_wait_for_each_other(database):
    def add(number):
        with database.writing() as connection:
            connection.execute(events.insert().values(EVENT | {"event_id": f"E-{number}"}))

    threads = [threading.Thread(target=add, args=(n,)) for n in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count(database, events) == 20


def test_writes_that_wait_for_each_other_in_a_circle_are_done_anew(postgres_url):
    database = Database.open(postgres_url)
    with database.writing() as connection:
        connection.execute(leads.insert(), [LEAD, LEAD | {"lead_id": "L-2"}])
    both, tries = threading.Barrier(2), []

    def grow(ids):
        def work(connection):
            tries.append(ids)
            for at, each in enumerate(ids):
                own = leads.update().where(leads.c.lead_id == each)
                connection.execute(own.values(episode=leads.c.episode + 1))
                if at == 0 and len(tries) <= 2:
                    both.wait(10)

        return database.write(work)

    threads = [
        threading.Thread(target=grow, args=(ids,)) for ids in (("L-1", "L-2"), ("L-2", "L-1"))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(tries) >= 3
    with database.reading() as connection:
        assert {*connection.execute(sa.select(leads.c.episode)).scalars()} == {2}
    database.close()


def test_who_waits_for_a_row_too_long_is_told(postgres_url, monkeypatch):
    monkeypatch.setitem(WAITS, "lock_timeout", 0.2)
    database = Database.open(postgres_url)
    with database.writing() as connection:
        connection.execute(leads.insert(), LEAD)
    with database.writing() as connection:
        connection.execute(leads.update().values(episode=2))
        with pytest.raises(DatabaseError, match="lock timeout"):
            database.write(lambda other: other.execute(leads.update().values(episode=3)))
    database.close()


def test_a_statement_has_its_time_and_who_reads_whole_tables_has_more(postgres_url):
    database = Database.open(postgres_url)
    show = [f"SHOW {name}" for name in ("statement_timeout", *PATIENT)]
    with database.reading() as connection:
        assert {connection.exec_driver_sql(each).scalar() for each in show} == {"1min"}
    with database.reading(patient=True) as connection:
        assert {connection.exec_driver_sql(each).scalar() for each in show} == {"1h"}
    with database.reading() as connection:
        assert {connection.exec_driver_sql(each).scalar() for each in show} == {"1min"}
    database.close()


@pytest.mark.parametrize("collisions", [3, 4])
def test_a_write_that_always_meets_another_is_given_up(postgres_url, collisions):
    database, left = Database.open(postgres_url), [collisions]

    def work(connection):
        if left[0]:
            left[0] -= 1
            raise Collision("a deadlock")
        return "done"

    if collisions < TRIES:
        assert database.write(work) == "done"
    else:
        with pytest.raises(Collision):
            database.write(work)
    database.close()


def test_sqlite_has_a_write_on_disk_before_it_is_acknowledged(sqlite_url):
    database = Database.open(sqlite_url)
    with database.writing() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar_one() == 2
    database.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("sqlite://", "needs a file"),
        ("sqlite:////nowhere/leadqual.db", "does not exist"),
        ("mysql://localhost/leadqual", "not supported"),
        ("no url", "cannot be read"),
        ("postgresql://user:secret@127.0.0.1:1/leadqual", "cannot be used"),
    ],
)
def test_a_database_that_cannot_be_used_is_named_without_its_password(url, said):
    with pytest.raises((DatabaseError, UsageError), match=said) as refused:
        Database.open(url)
    assert "secret" not in str(refused.value)


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "notes.db").write_text("no database, but notes of some length " * 100)
    with pytest.raises(DatabaseError, match=r"notes\.db"):
        Database.open(f"sqlite:///{tmp_path / 'notes.db'}")


@pytest.mark.parametrize("create", [True, False])
def test_a_database_of_a_newer_version_is_refused(database_url, create):
    database = Database.open(database_url)
    with database.writing() as connection:
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    database.close()
    with pytest.raises(DatabaseError, match="newer version"):
        Database.open(database_url, create=create)


def test_a_database_of_an_older_version_is_brought_up_by_the_service_only(database_url):
    database = Database.open(database_url)
    with database.writing() as connection:
        migrations.downgrade(connection, "0001")
    database.close()
    for _ in range(2):
        with pytest.raises(DatabaseError, match="earlier version: start `leadqual serve`"):
            Database.open(database_url, create=False)
    Database.open(database_url).close()
    Database.open(database_url, create=False).close()


def test_tables_of_others_are_left_alone(database_url):
    database = Database.open(database_url)
    with database.writing() as connection:
        migrations.downgrade(connection, "base")
    database.close()
    for _ in range(2):
        with pytest.raises(UsageError, match="holds no tables of leadqual"):
            Database.open(database_url, create=False)
