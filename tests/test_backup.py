"""Backup and restore as docs/operations.md has people type them, with the service writing."""

import re
import shlex
import shutil
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from serving.store.database import Database
from serving.store.tables import audit, endpoints, metadata
from tests.postgres import engine, postgres_server, program, server_url
from tests.states import crm

OPERATIONS = (Path(__file__).parents[1] / "docs/operations.md").read_text(encoding="utf-8")
ENDPOINT = {"url": "https://crm.example/leadqual", "types": ["lead.erased"]}


def command(start):
    """Return the words of the page's command that starts so."""
    (line,) = (
        line
        for block in re.findall(r"```sh\n(.*?)```", OPERATIONS, re.S)
        for line in block.splitlines()
        if line.startswith(start)
    )
    words = shlex.split(line)
    return [sys.executable, *words[1:]] if words[0] == "python3" else words


class Writer:
    """Writes through the service without a pause."""

    def __init__(self, service):
        self.service, self.written, self._stop = service, 0, threading.Event()
        self._endpoint = service.post("/v1/webhooks", ENDPOINT).json()["endpoint_id"]
        self._thread = threading.Thread(target=self._write)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()

    def _write(self):
        while not self._stop.is_set():
            answer = self.service.post(f"/v1/webhooks/{self._endpoint}/rotate", {})
            assert answer.status_code == 200
            self.written += 1

    def wait_for(self, more):
        until = self.written + more
        while self.written < until:
            self._stop.wait(0.01)
            assert self._thread.is_alive()


def kept(url):
    """Return how many rows each table has; and that the file can be opened as ours."""
    database = Database.open(url)
    with database.reading() as connection:
        found = {
            table.name: connection.execute(
                sa.select(sa.func.count()).select_from(table)
            ).scalar_one()
            for table in metadata.sorted_tables
        }
    database.close()
    return found


def test_sqlite_is_backed_up_while_it_is_written_to_and_restored(sqlite_url, tmp_path):
    with crm(sqlite_url) as service, Writer(service) as writer:
        writer.wait_for(5)
        least = writer.written
        subprocess.run(command('python3 -c "import sqlite3'), cwd=tmp_path, check=True)
        writer.wait_for(5)
        token = service.token
    assert sqlite3.connect(tmp_path / "backup.db").execute("PRAGMA integrity_check").fetchall() == [
        ("ok",)
    ]
    for name in ("leadqual.db", "leadqual.db-wal", "leadqual.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.move(tmp_path / "backup.db", tmp_path / "leadqual.db")
    found = kept(sqlite_url)
    assert least <= found["audit"] - 1 <= writer.written
    assert (found["endpoints"], found["keys"], found["facts"]) == (1, 1, 1)
    with crm(sqlite_url) as service:
        assert service.get("/v1/webhooks", token=token).status_code == 200


@pytest.mark.postgres
def test_postgres_is_dumped_while_it_is_written_to_and_restored():
    with postgres_server() as server:
        url = server_url(server)
        with engine(url).connect() as connection:
            outside = connection.execution_options(isolation_level="AUTOCOMMIT")
            for name in ("live", "restored"):
                outside.execute(sa.text(f"CREATE DATABASE {name}"))
        live, restored = (
            url.set(database=name).render_as_string(hide_password=False)
            for name in ("live", "restored")
        )
        dump = Path(server.pgdata).parent / "leadqual.dump"
        with crm(live) as service, Writer(service) as writer:
            writer.wait_for(5)
            least = writer.written
            typed(command("pg_dump"), live, dump)
            writer.wait_for(5)
            token = service.token
        typed(command("pg_restore"), restored, dump)
        found = kept(restored)
        assert least <= found["audit"] - 1 <= writer.written
        with crm(restored) as service:
            assert service.get("/v1/webhooks", token=token).status_code == 200
            assert len(service.rows(sa.select(endpoints.c.endpoint_id))) == 1
            assert service.post("/v1/webhooks", ENDPOINT).status_code == 200
            assert len(service.rows(sa.select(audit.c.audit_id))) == found["audit"] + 1


def typed(words, url, dump):
    """Run a command of the page on this database and this file."""
    name = "postgresql://leadqual@database/leadqual"
    words = [word.replace(name, url).replace("leadqual.dump", str(dump)) for word in words]
    subprocess.run([program(words[0]), *words[1:]], check=True)


def test_the_tables_go_down_as_the_page_says(sqlite_url, tmp_path):
    words = command('python3 -c "from serving.store')
    subprocess.run(words, cwd=tmp_path, env={"PYTHONPATH": str(Path.cwd())}, check=True)
    with sqlite3.connect(tmp_path / "leadqual.db") as connection:
        found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    assert found == [("0001",)]
    assert kept(sqlite_url)["leads"] == 0
