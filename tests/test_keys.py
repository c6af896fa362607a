import pytest

from features.findings import UsageError
from serving.store import keys, tables
from serving.store.database import Database

NOW_US, DAY_US = 1_700_000_000_000_000, 86_400_000_000


@pytest.fixture
def database(database_url):
    opened = Database.open(database_url)
    yield opened
    opened.close()


@pytest.fixture
def connection(database):
    with database.writing() as opened:
        yield opened


def id_of(token):
    return token.split("_")[1]


def states(connection, now_us=NOW_US):
    return [(key.client, key.state) for key in keys.listed(connection, now_us)]


def test_a_key_is_found_by_what_was_shown_once(connection):
    token = keys.create(connection, "crm", ["read", "score"], NOW_US)
    prefix, key_id, secret = token.split("_", 2)
    assert (prefix, len(key_id)) == ("lk", 12)
    assert keys.id_of(token) == key_id
    assert keys.find(connection, token, NOW_US) == keys.Client(
        key_id, "crm", frozenset({"score", "read"})
    )
    row = connection.execute(tables.keys.select()).one()
    assert row.scopes == "score read"
    assert secret not in str(row)
    assert token not in str(row)


@pytest.mark.parametrize(
    "token", ["", "lk_", "lk_0_0", "lk_000000000000_" + "x" * 43, "lk_\0", "lk_" + "ü" * 56]
)
def test_what_is_no_key_is_nobodys(connection, token):
    assert keys.find(connection, token, NOW_US) is None


def test_a_key_with_another_secret_or_prefix_is_nobodys(connection):
    token = keys.create(connection, "crm", ["read"], NOW_US)
    other = token[:-1] + ("A" if token[-1] != "A" else "B")
    for wrong in (other, token + "A", token[:-1], "sk" + token[2:], token + "\n"):
        assert keys.find(connection, wrong, NOW_US) is None


def test_a_key_lives_until_the_moment_at_which_it_expires(connection):
    token = keys.create(connection, "crm", ["read"], NOW_US, NOW_US + DAY_US)
    assert keys.find(connection, token, NOW_US + DAY_US - 1) is not None
    assert keys.find(connection, token, NOW_US + DAY_US) is None
    assert states(connection, NOW_US + DAY_US - 1) == [("crm", "lives")]
    assert states(connection, NOW_US + DAY_US) == [("crm", "expired")]
    assert keys.any_lives(connection, NOW_US + DAY_US - 1)
    assert not keys.any_lives(connection, NOW_US + DAY_US)


def test_a_key_that_was_revoked_is_nobodys_and_stays_so(connection):
    token = keys.create(connection, "crm", ["read"], NOW_US)
    assert keys.revoke(connection, id_of(token), NOW_US + 1)
    assert not keys.revoke(connection, id_of(token), NOW_US + 2)
    assert keys.find(connection, token, NOW_US + 3) is None
    (key,) = keys.listed(connection, NOW_US + 3)
    assert (key.state, key.revoked_us) == ("revoked", NOW_US + 1)
    assert not keys.any_lives(connection, NOW_US + 3)
    with pytest.raises(UsageError, match="leadqual keys list"):
        keys.revoke(connection, "nobodys", NOW_US)


def test_two_keys_of_a_client_live_and_a_third_takes_the_place_of_one(connection):
    first = keys.create(connection, "crm", ["read"], NOW_US)
    second = keys.create(connection, "crm", ["read"], NOW_US + 1, NOW_US + DAY_US)
    keys.create(connection, "other", ["read"], NOW_US + 2)
    with pytest.raises(UsageError, match=f"{id_of(first)}, {id_of(second)}.*revoke one"):
        keys.create(connection, "crm", ["read"], NOW_US + 3)
    assert keys.find(connection, first, NOW_US + 3)
    assert keys.find(connection, second, NOW_US + 3)
    keys.revoke(connection, id_of(first), NOW_US + 4)
    keys.create(connection, "crm", ["read"], NOW_US + 5)
    keys.create(connection, "crm", ["read"], NOW_US + DAY_US)  # the second has expired


@pytest.mark.parametrize("scopes", [[], ["rea"], ["read", "root"]])
def test_scopes_are_named(connection, scopes):
    with pytest.raises(UsageError, match="score, read, write, admin"):
        keys.create(connection, "crm", scopes, NOW_US)


@pytest.mark.parametrize("client", ["", " ", "a\nb", "a\0b", "x" * 257])
def test_a_client_has_a_name_that_can_be_shown(connection, client):
    with pytest.raises(UsageError, match="printable"):
        keys.create(connection, client, ["read"], NOW_US)


def test_the_last_use_never_goes_back(connection):
    token = keys.create(connection, "crm", ["read"], NOW_US)
    key_id = id_of(token)
    for moment, expected in ((5, 5), (9, 9), (7, 9)):
        keys.used(connection, {key_id: moment, "gone": moment})
        assert [key.last_used_us for key in keys.listed(connection, NOW_US)] == [expected]
