import pytest
from pydantic import ValidationError

from features.findings import UsageError
from serving import settings, settings_listed
from serving.settings import Settings, is_loopback
from serving.store.policy import Policy


def test_the_environment_is_read_with_a_prefix_and_options_come_first(monkeypatch):
    monkeypatch.setenv("LEADQUAL_PORT", "9000")
    monkeypatch.setenv("LEADQUAL_WORKERS", "3")
    monkeypatch.setenv("PORT", "1")
    found = settings.read(workers=2, host=None)
    assert (found.host, found.port, found.workers) == ("127.0.0.1", 9_000, 2)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("PORT", "70000", "must be 65535 or less, got '70000'"),
        ("PORT", "x", "must be a whole number, got 'x'"),
        ("WORKERS", "0", "must be 1 or more, got '0'"),
        ("WORKERS", "none", "must be a whole number, got 'none'"),
        ("HOST", "none", "must be text, got 'none'"),
        ("MODEL_CACHE", "none", "must be a path, got 'none'"),
        ("MODEL_POLL_SECONDS", "inf", "must be a finite number, got 'inf'"),
        ("LOG_LEVEL", "loud", "must be one of 'debug', 'info', 'warning' or 'error', got 'loud'"),
        ("POLICY__SLA_HOURS", "0", "must be greater than 0, got '0'"),
        ("POLICY__MARGIN", "x", "must be a number, got 'x'"),
        ("POLICY__PRIVATE_WEBHOOKS", "perhaps", "must be true or false, got 'perhaps'"),
        ("POLICY", "5", "must be an object of JSON: .*such as LEADQUAL_POLICY__SLA_HOURS"),
        ("POLICY", "{", "must be an object of JSON: .*such as LEADQUAL_POLICY__SLA_HOURS"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_what_it_must_be(
    monkeypatch, name, value, said
):
    monkeypatch.setenv(f"LEADQUAL_{name}", value)
    with pytest.raises(UsageError, match=rf"LEADQUAL_{name} \((the )?environment\) {said}"):
        settings.read()


def test_a_url_of_a_wrong_kind_is_not_repeated(tmp_path):
    (tmp_path / "s.toml").write_text("database_url = ['me:secret']\n")
    with pytest.raises(UsageError, match=r"LEADQUAL_DATABASE_URL \(.*\) must be text: ") as error:
        settings.read(str(tmp_path / "s.toml"))
    assert "secret" not in str(error.value)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_options_come_before_the_environment_dotenv_the_file_and_defaults(folder, monkeypatch):
    names = ("host", "port", "workers", "threads", "stop_within_seconds")
    file = dict(zip(names, ("f", 1, 1, 1, 1), strict=True))
    (folder / "s.toml").write_text("\n".join(f"{k} = {v!r}" for k, v in file.items()))
    lines = "LEADQUAL_HOST=e\nLEADQUAL_PORT=2\nLEADQUAL_WORKERS=2\nleadqual_threads=2\n"
    (folder / ".env").write_text(lines)
    monkeypatch.setenv("LEADQUAL_HOST", "v")
    monkeypatch.setenv("LEADQUAL_PORT", "3")
    monkeypatch.setenv("LEADQUAL_WORKERS", "")  # as a variable that compose has not set
    found = settings.stated("s.toml", host="o", port=None)
    read = found.settings
    assert (read.host, read.port, read.workers, read.threads) == ("o", 3, 2, 2)
    assert (read.stop_within_seconds, read.log_level) == (1, "info")
    assert dict(found.origins) == {
        "host": "option",
        "port": "environment",
        "workers": ".env",
        "threads": ".env",
        "stop_within_seconds": "s.toml",
    }


@pytest.mark.parametrize("where", ["environment", ".env", "env"])
def test_the_file_is_an_option_or_a_variable(folder, monkeypatch, where):
    (folder / "s.conf").write_text("LEADQUAL_POLICY__SLA_HOURS=8\nOTHER=x\n")
    if where == "environment":
        monkeypatch.setenv("LEADQUAL_SETTINGS_FILE", "s.conf")
    elif where == ".env":
        (folder / ".env").write_text("LEADQUAL_SETTINGS_FILE=s.conf\n")
    found = settings.read("s.conf" if where == "env" else None)
    assert found.policy.sla_hours == 8


def test_the_policy_is_gathered_from_all_of_them(folder, monkeypatch):
    (folder / "s.toml").write_text("[policy]\nsla_hours = 1\nmargin = 0.5\nskew_seconds = 1\n")
    (folder / ".env").write_text("LEADQUAL_POLICY__MARGIN=None\n")
    monkeypatch.setenv("LEADQUAL_POLICY__SKEW_SECONDS", "9")
    monkeypatch.setenv("LEADQUAL_POLICY__KEEP_AUDIT_DAYS", "none")
    assert settings.read("s.toml").policy == Policy(
        sla_hours=1, margin=None, skew_seconds=9, keep_audit_days=None
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prot = 1", "s.toml has keys.*prot is unknown, did you mean port?"),
        ("[policy]\nsla_huors = 1", "did you mean policy.sla_hours?"),
        ("[polcy]\nmargin = 1", "polcy.margin is unknown"),
        ("port = ", "is not TOML"),
        ("port = 'x'", r"LEADQUAL_PORT \(s.toml\)"),
        ("[policy]\nprivate_webhooks = 'perhaps'", r"LEADQUAL_POLICY__PRIVATE_WEBHOOKS \(s.toml\)"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused(folder, text, said):
    (folder / "s.toml").write_text(text)
    with pytest.raises(UsageError, match=said):
        settings.read("s.toml")


def test_unknown_variables_are_refused_in_files_and_told_of_the_environment(folder, monkeypatch):
    monkeypatch.setenv("LEADQUAL_PROT", "1")
    assert settings.stated().ignored == ("LEADQUAL_PROT is unknown, did you mean LEADQUAL_PORT?",)
    (folder / ".env").write_text("LEADQUAL_PROT=1\nPROT=1\n")
    with pytest.raises(UsageError, match="LEADQUAL_PROT is unknown, did you mean LEADQUAL_PORT"):
        settings.read()


def test_a_file_that_is_not_there_is_named(folder):
    with pytest.raises(UsageError, match=r"no file of settings nowhere\.toml"):
        settings.read("nowhere.toml")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("SLA_HOURS", ("0", "-1", "nan", "inf", "none")),
        ("SKEW_SECONDS", ("-1", "1e9")),
        ("RESCORE_HOUR", ("24", "-1", "2.5")),
        ("KEEP_EVENTS_DAYS", ("0", "-3", "1e99")),
        ("MARGIN", ("-0.1", "nan")),
        ("LANGUAGE", ("fr",)),
    ],
)
def test_values_of_the_policy_lie_within_bounds(folder, monkeypatch, name, values):
    for value in values:
        monkeypatch.setenv(f"LEADQUAL_POLICY__{name}", value)
        with pytest.raises(UsageError, match=f"LEADQUAL_POLICY__{name} .environment."):
            settings.read()


def test_every_setting_says_what_it_means():
    found = settings_listed.lines(settings.stated())
    assert [line.name for line in found] == list(settings.KNOWN)
    assert all(len(line.meaning) > 10 for line in found)
    assert {line.name: line.value for line in found} == {
        **{name: getattr(Settings(), name) for name in settings.KNOWN if "." not in name},
        **{f"policy.{name}": value for name, value in vars(Policy()).items()},
    }


def test_a_url_that_cannot_be_read_is_hidden_whole(monkeypatch):
    monkeypatch.setenv("LEADQUAL_DATABASE_URL", "me:secret")
    found = {line.name: line.value for line in settings_listed.lines(settings.stated())}
    assert found["database_url"] == "***"


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
