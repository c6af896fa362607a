import pytest
from pydantic import ValidationError

from features.findings import UsageError
from serving import settings
from serving.settings import Settings, is_loopback


def test_the_environment_is_read_with_a_prefix_and_options_come_first(monkeypatch):
    monkeypatch.setenv("LEADQUAL_PORT", "9000")
    monkeypatch.setenv("LEADQUAL_WORKERS", "3")
    monkeypatch.setenv("PORT", "1")
    found = settings.read(workers=2, host=None)
    assert (found.host, found.port, found.workers) == ("127.0.0.1", 9_000, 2)


@pytest.mark.parametrize(("name", "value"), [("PORT", "70000"), ("PORT", "x"), ("WORKERS", "0")])
def test_a_setting_that_cannot_be_used_is_named(monkeypatch, name, value):
    monkeypatch.setenv(f"LEADQUAL_{name}", value)
    with pytest.raises(UsageError, match=f"LEADQUAL_{name}"):
        settings.read()


def test_settings_do_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1


def test_stopping_leaves_time_within_the_twenty_seconds():
    with pytest.raises(ValidationError):
        Settings(stop_within_seconds=18)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("no-such-host.invalid", False),
    ],
)
def test_which_hosts_are_this_machine(host, loopback):
    assert is_loopback(host) == loopback
