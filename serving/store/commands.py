"""`leadqual keys`: who may ask a service with a database, and for what."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from features import terminal
from features.commands import AsJson

if TYPE_CHECKING:
    import sqlalchemy as sa

    from serving.store.database import Database

DAY_US = 86_400_000_000
COMMAND = "command"
"""Who an entry of the audit names for what is done here."""

DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        "--database-url", help="sqlite:///leadqual.db or postgresql://…; else the setting."
    ),
]
SettingsFile = Annotated[
    str | None,
    typer.Option("--settings", help="A file of settings: .toml, or lines as in .env."),
]

app = typer.Typer()
keys_app = typer.Typer(no_args_is_help=True, help="Make, list and revoke the keys of clients.")
app.add_typer(keys_app, name="keys")


@keys_app.command()
def create(
    client: Annotated[str, typer.Argument(help="Who will use it; two of its keys may live.")],
    scopes: Annotated[
        str, typer.Option("--scopes", help="Some of score,read,write,admin, with commas between.")
    ],
    expires_days: Annotated[
        float | None, typer.Option("--expires-days", min=0.001, max=36_500, help="Default: never.")
    ] = None,
    database_url: DatabaseUrl = None,
    settings: SettingsFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a key and print it, this once; the database and its tables too, where there are none.

    Two keys of a client may live, so that a new one is brought in before the old one is revoked.
    """
    from features.moments import iso
    from serving.store import keys

    now_us = time.time_ns() // 1_000
    expires_us = None if expires_days is None else now_us + int(expires_days * DAY_US)
    wanted = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    keys.check(client, wanted)
    with _database(database_url, settings, create=True) as database:
        with database.writing() as connection:
            key = keys.create(connection, client, wanted, now_us, expires_us)
            _note(connection, f"keys create {keys.id_of(key)}", now_us)
        shown = database.shown
    terminal.say(
        f"a key of {client} for {shown}, "
        + (f"until {iso(expires_us)}" if expires_us else "which does not expire")
        + ": keep it now, it cannot be shown again"
    )
    if as_json:
        expires = None if expires_us is None else iso(expires_us)
        found = {"key_id": keys.id_of(key), "key": key, "client": client, "scopes": wanted}
        terminal.answer({**found, "created_at": iso(now_us), "expires_at": expires})
    else:
        typer.echo(key)


@keys_app.command("list")
def list_(
    database_url: DatabaseUrl = None, settings: SettingsFile = None, as_json: AsJson = False
) -> None:
    """List all keys, those that have ended too."""
    from features.moments import iso
    from serving.store import keys

    with _database(database_url, settings) as database, database.reading() as connection:
        found = keys.listed(connection, time.time_ns() // 1_000)
    rows = [
        {name: value for name, value in asdict(key).items() if not name.endswith("_us")}
        | {
            f"{name}_at": None if moment is None else iso(moment)
            for name, moment in (
                ("created", key.created_us),
                ("expires", key.expires_us),
                ("revoked", key.revoked_us),
                ("last_used", key.last_used_us),
            )
        }
        for key in found
    ]
    if as_json:
        terminal.answer(rows)
    elif rows:
        cells = [[*(row | {"scopes": ",".join(row["scopes"])}).values()] for row in rows]
        terminal.table("Keys", [*rows[0]], cells, result=True)
    else:
        terminal.say("there is no key: `leadqual keys create NAME --scopes …` makes one")


@keys_app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="As `leadqual keys list` shows it.")],
    database_url: DatabaseUrl = None,
    settings: SettingsFile = None,
) -> None:
    """End a key; a service that runs follows within five seconds."""
    from serving.store import keys

    now_us = time.time_ns() // 1_000
    with _database(database_url, settings) as database, database.writing() as connection:
        if ended := keys.revoke(connection, key_id, now_us):
            _note(connection, f"keys revoke {key_id}", now_us)
    terminal.say(f"the key {key_id} {'is revoked' if ended else 'was revoked before'}")


@contextmanager
def _database(url: str | None, file: str | None, *, create: bool = False) -> Iterator["Database"]:
    from serving import settings
    from serving.store.database import Database

    stated = settings.read(file, database_url=url)
    database = Database.open(settings.required_database_url(stated), create=create)
    try:
        yield database
    finally:
        database.close()


def _note(connection: "sa.Connection", action: str, now_us: int) -> None:
    from serving.store import audit

    audit.note(connection, COMMAND, action, (), now_us=now_us)
