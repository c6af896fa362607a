"""`leadqual keys` and `leadqual settings`."""

import json
import sqlite3
from contextlib import closing

import pytest
import sqlalchemy as sa

from serving.store import keys, tables
from serving.store.database import Database
from tests.commands import run


@pytest.fixture
def url(tmp_path):
    """Of a database that is not there yet."""
    return f"sqlite:///{tmp_path / 'leadqual.db'}"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    """A working directory without files of settings, and no variable."""
    monkeypatch.chdir(tmp_path)
    for name in ("LEADQUAL_DATABASE_URL", "LEADQUAL_SETTINGS_FILE"):
        monkeypatch.delenv(name, raising=False)


def created(url, *more, client="crm", scopes="score,read"):
    return run("keys", "create", client, "--scopes", scopes, "--database-url", url, *more)


def listed(url):
    done = run("keys", "list", "--json", "--database-url", url)
    assert done.code == 0
    return json.loads(done.out)


def test_what_no_key_can_be_makes_no_database(tmp_path):
    assert created(f"sqlite:///{tmp_path}/new.db", scopes="scor").code == 2
    assert not [*tmp_path.iterdir()]


def test_a_key_is_printed_once_alone_and_unbroken_and_the_database_is_made(url):
    done = created(url)
    assert done.code == 0
    key = done.out.rstrip("\n")
    assert done.out == f"{key}\n"
    assert keys.id_of(key)
    assert key not in done.err
    assert "cannot be shown again" in done.err
    database = Database.open(url)
    with database.reading() as connection:
        found = keys.find(connection, key, 0)
        assert found is not None
        assert found.scopes == {"score", "read"}
        assert list(connection.execute(sa.select(tables.events))) == []
    database.close()
    again = run("keys", "list", "--database-url", url)
    assert key.split("_")[1] in again.out
    assert key not in again.out + again.err


def test_as_json_it_comes_with_its_id(url):
    done = created(url, "--json", "--expires-days", 2)
    found = json.loads(done.out)
    assert {*found} == {"key_id", "key", "client", "scopes", "created_at", "expires_at"}
    assert keys.id_of(found["key"]) == found["key_id"]
    assert (found["client"], found["scopes"]) == ("crm", ["score", "read"])
    (key,) = listed(url)
    assert key["expires_at"] == found["expires_at"]
    assert (key["state"], key["last_used_at"], key["revoked_at"]) == ("lives", None, None)


def test_a_key_is_replaced_without_a_gap(url):
    old, new = (created(url).out.strip() for _ in range(2))
    third = created(url)
    assert third.code == 2
    assert third.out == ""
    assert keys.id_of(old) in third.err
    assert keys.id_of(new) in third.err
    for said in ("is revoked", "was revoked before"):
        done = run("keys", "revoke", keys.id_of(old), "--database-url", url)
        assert done.code == 0
        assert said in done.err
    assert [key["state"] for key in listed(url)] == ["revoked", "lives"]
    assert created(url).code == 0


def test_what_the_commands_did_stands_in_the_audit(url):
    key = created(url).out.strip()
    run("keys", "revoke", keys.id_of(key), "--database-url", url)
    run("keys", "revoke", keys.id_of(key), "--database-url", url)
    database = Database.open(url)
    with database.reading() as connection:
        rows = connection.execute(sa.select(tables.audit)).all()
    database.close()
    assert [(row.client, row.key_id, row.action) for row in rows] == [
        ("command", None, f"keys create {keys.id_of(key)}"),
        ("command", None, f"keys revoke {keys.id_of(key)}"),
    ]
    assert key not in str(rows)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("create", "crm", "--scopes", "scor"), 2, "got scor"),
        (("create", "crm", "--scopes", " , "), 2, "got none"),
        (("create", "a\nb", "--scopes", "read"), 2, "printable"),
        (("create", "crm", "--scopes", "read", "--expires-days", "0"), 2, "--expires-days"),
        (("create", "crm"), 2, "--scopes"),
        (("revoke", "0123456789ab"), 2, "leadqual keys list"),
        ((), 2, "create"),
    ],
)
def test_what_cannot_be_done_is_said(url, arguments, code, said):
    Database.open(url).close()
    done = run("keys", *arguments, *(("--database-url", url) if arguments else ()))
    assert done.code == code
    assert said in done.err + done.out
    assert "lk_" not in done.out


def test_the_database_is_a_setting(url, monkeypatch):
    nowhere = run("keys", "list")
    assert nowhere.code == 2
    assert "LEADQUAL_DATABASE_URL" in nowhere.err
    monkeypatch.setenv("LEADQUAL_DATABASE_URL", url)
    Database.open(url).close()
    empty = run("keys", "list")
    assert empty.code == 0
    assert "leadqual keys create" in empty.err
    assert run("keys", "create", "crm", "--scopes", "read").code == 0
    assert [key["client"] for key in listed(url)] == ["crm"]


@pytest.mark.parametrize(
    ("url", "code"),
    [("sqlite:////nowhere/x.db", 2), ("sqlite://", 2), ("mysql://me:secret@localhost/leads", 2),
     ("secret", 2), ("postgresql://me:secret@127.0.0.1:1/leads", 5)],
)  # fmt: skip
def test_a_url_that_cannot_be_is_usage_and_a_database_that_fails_is_5(url, code):
    done = created(url)
    assert done.code == code
    assert "database" in done.err
    assert "secret" not in done.out + done.err


@pytest.mark.parametrize(
    "command",
    [("keys", "list"), ("keys", "revoke", "0123456789ab"), ("replay", 1), ("export", "--output=o")],
)
def test_only_serving_and_making_a_key_make_a_database(url, tmp_path, command):
    file = tmp_path / "leadqual.db"
    for there in (False, True):
        done = run(*command, "--database-url", url)
        assert (done.code, done.out) == (2, "")
        assert str(file) in done.err
        assert "check --database-url" in done.err
        assert "`leadqual keys create NAME" in done.err
        assert file.exists() == there
        file.touch()  # a database without tables
    assert file.read_bytes() == b"" or not _tables(file)


def _tables(file):
    with closing(sqlite3.connect(file)) as connection:
        return connection.execute("SELECT name FROM sqlite_master").fetchall()


def test_settings_are_shown_with_their_origin_and_without_secrets(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("LEADQUAL_PORT=9001\nLEADQUAL_WORKERS=2\nOTHER=1\n")
    (tmp_path / "more.toml").write_text("workers = 3\nthreads = 3\n[policy]\nsla_hours = 8\n")
    monkeypatch.setenv("LEADQUAL_DATABASE_URL", "postgresql://me:secret@host/x?password=hidden")
    monkeypatch.setenv("LEADQUAL_WORKRES", "9")
    done = run("settings", "--json", "--settings", "more.toml")
    assert done.code == 0
    found = {line["name"]: line for line in json.loads(done.out)}
    assert {name: (line["value"], line["origin"]) for name, line in found.items()} == {
        name: (line["value"], "default") for name, line in found.items()
    } | {
        "port": (9001, ".env"),
        "workers": (2, ".env"),
        "threads": (3, "more.toml"),
        "policy.sla_hours": (8.0, "more.toml"),
        "database_url": ("postgresql://me:***@host/x?password=***", "environment"),
    }
    assert found["policy.sla_hours"]["variable"] == "LEADQUAL_POLICY__SLA_HOURS"
    assert all(line["meaning"] for line in found.values())
    assert "LEADQUAL_WORKRES is unknown, did you mean LEADQUAL_WORKERS?" in done.err
    table = run("settings")
    assert table.code == 0
    for said in ("policy.sla_hours", ".env", "environment"):
        assert said in table.out
    assert "secret" not in done.out + done.err + table.out + table.err
    assert "hidden" not in done.out + table.out


def test_a_setting_that_cannot_be_used_ends_with_2(monkeypatch):
    monkeypatch.setenv("LEADQUAL_POLICY__RESCORE_HOUR", "24")
    done = run("settings")
    assert done.code == 2
    assert "LEADQUAL_POLICY__RESCORE_HOUR (environment)" in done.err
