"""Databases that tests ask for by name: an empty one of each kind, with the service's tables."""

import shutil
from itertools import count

import pytest
import sqlalchemy as sa

from serving.store.database import Database
from tests.postgres import engine, postgres
from training import tracking

NUMBERS = count()


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory):
    """A database with MLflow's tables: making them takes seconds, copying it nothing."""
    path = tmp_path_factory.mktemp("registry") / "empty.db"
    with tracking.connected(f"sqlite:///{path}", create=True) as client:
        client.search_experiments()
    return path


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory):
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    Database.open(f"sqlite:///{path}").close()
    return path


@pytest.fixture(scope="session")
def postgres_template():
    """A server whose database ``template`` has the service's tables."""
    with postgres() as url:
        _run(url, "CREATE DATABASE template")
        Database.open(_shown(url.set(database="template"))).close()
        yield url


@pytest.fixture
def sqlite_url(tmp_path, sqlite_template):
    shutil.copy(sqlite_template, tmp_path / "leadqual.db")
    return f"sqlite:///{tmp_path / 'leadqual.db'}"


@pytest.fixture
def postgres_url(postgres_template):
    name = f"leadqual_{next(NUMBERS)}"
    _run(postgres_template, f"CREATE DATABASE {name} TEMPLATE template")
    yield _shown(postgres_template.set(database=name))
    _run(postgres_template, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database_url(request):
    """The same test on both."""
    return request.getfixturevalue(f"{request.param}_url")


def _run(url, statement):
    with engine(url).connect() as connection:
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(sa.text(statement))


def _shown(url):
    return url.render_as_string(hide_password=False)
