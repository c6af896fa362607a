"""What a `leadqual.toml` says, and what is said about one that cannot be used."""

import pytest
from pydantic import ValidationError

from features.catalogue import SALES_TYPES
from training import simulator
from training.config import Config, ConfigError, read


def written(folder, text, encoding="utf-8"):
    path = folder / "leadqual.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode(encoding))
    return path


def refused(folder, text):
    path = written(folder, text)
    with pytest.raises(ConfigError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value)


def test_without_a_file_the_defaults_are_taken():
    config = read(None)
    assert config == Config()
    assert (config.label.horizon_days, config.label.strategy) == (90, "ipcw")
    assert (config.rule.kind, config.rule.capacity_per_week) == ("capacity", None)
    assert config.events.sales == SALES_TYPES
    assert config.features.windows_days == (1, 7, 30, 90)


def test_an_empty_file_says_the_defaults(tmp_path):
    assert read(written(tmp_path, "")) == Config()


def test_every_key_is_read(tmp_path):
    config = read(
        written(
            tmp_path,
            """
            [columns]
            lead_id = "Contact ID"
            [columns.leads]
            created_at = "登録日"
            [label]
            horizon_days = 45
            strategy = "ipcw"
            [snapshots]
            ages_days = [0, 2.5, 10]
            [features]
            exclude = ["owner"]
            sensitive = ["age"]
            windows_days = [7, 28]
            [events]
            sales = ["電話"]
            handoff = ["mql"]
            [rule]
            kind = "capacity"
            capacity_per_week = 25
            [report]
            groups = ["country", "性別"]
            segments = ["industry"]
            """,
        )
    )
    assert config.columns == {"lead_id": "Contact ID", "leads": {"created_at": "登録日"}}
    assert config.label.horizon_days == 45
    assert config.snapshots.ages_days == (0, 2.5, 10)
    assert (config.features.exclude, config.features.sensitive) == (("owner",), ("age",))
    assert config.features.windows_days == (7, 28)
    assert (config.events.sales, config.events.handoff) == (("電話",), ("mql",))
    assert config.rule.capacity_per_week == 25
    assert config.report.groups == ("country", "性別")
    assert config.report.segments == ("industry",)
    every = read(written(tmp_path, "[snapshots]\nevery_days = 30"))
    assert every.snapshots.every_days == 30


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path):
    text = '[label]\r\nhorizon_days = 30\r\n[events]\r\nsales = ["電話"]\r\n'
    config = read(written(tmp_path, text, "utf-8-sig"))
    assert (config.label.horizon_days, config.events.sales) == (30, ("電話",))


def test_what_the_simulator_writes_is_accepted(tmp_path):
    text = simulator.simulate(50, 3, 7, "stationary").config
    assert read(written(tmp_path, text)).label.horizon_days == simulator.HORIZON_DAYS


def test_a_configuration_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Config().label.horizon_days = 30


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[label]\nhorizon_day = 30", "label.horizon_day: unknown key, did you mean horizon_days?"),
        ("[lable]\nhorizon_days = 30", "lable: unknown key, did you mean label?"),
        ("[rule]\ncapacity_per_weeks = 5", "did you mean capacity_per_week?"),
        ("[snapshots]\nevery_day = 7", "did you mean every_days?"),
        ("[features]\nwindow_days = [7]", "did you mean windows_days?"),
        ("[events]\nhand_off = ['mql']", "did you mean handoff?"),
        ("horizon_days = 30", "horizon_days: unknown key; known: columns, label, snapshots"),
        ('[label]\n"π" = 3', "label.π: unknown key; known: horizon_days, strategy"),
    ],
)
def test_an_unknown_key_is_refused_with_the_nearest_known_one(tmp_path, text, named):
    assert named in refused(tmp_path, text)


@pytest.mark.parametrize("left_out", ["column", "name", "reason"])
def test_a_leak_is_allowed_only_with_who_and_why(tmp_path, left_out):
    given = {"column": "visits", "name": "Sato", "reason": "counted at creation"}
    for said in ({left_out: " "}, {left_out: None}):
        pairs = [f'{k} = "{v}"' for k, v in (given | said).items() if v is not None]
        message = refused(tmp_path, f"[leaks]\nallow = [{{{', '.join(pairs)}}}]")
        assert f"leaks.allow.0.{left_out}" in message


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[label]\nhorizon_days = 0", "label.horizon_days: must be greater than 0, got 0"),
        ("[label]\nhorizon_days = -5", "got -5"),
        ("[label]\nhorizon_days = 3651", "must be 3650 or less, got 3651"),
        ("[label]\nhorizon_days = 30.5", "must be a whole number, got 30.5"),
        ("[label]\nhorizon_days = '30'", "must be a whole number, got '30'"),
        ("[label]\nhorizon_days = true", "must be a whole number, got True"),
        ("[gate]\nlog_loss_margin = -1", "gate.log_loss_margin: must be 0 or more, got -1"),
        ("[gate]\ncalibration_ratio = [1.1, 1.2]", "limits around 1, got [1.1, 1.2]"),
        ("[gate]\nlog_loss_margins = 0.1", "did you mean log_loss_margin"),
        ("[rule]\ncapacity_per_week = 0", "rule.capacity_per_week: must be greater than 0"),
        ("[rule]\ncapacity_per_week = true", "must be a whole number, got True"),
        ("[snapshots]\nages_days = [-1]", "snapshots.ages_days.0: "),
        ("[snapshots]\nages_days = []", "snapshots.ages_days: must be a list of 1 or more, got []"),
        ("[snapshots]\nages_days = [nan]", "snapshots.ages_days.0: must be a finite number"),
        ("[snapshots]\nevery_days = inf", "snapshots.every_days: "),
        ("[snapshots]\nevery_days = 0.5", "must be 1 or more, got 0.5"),
        (
            "[snapshots]\nages_days = [0]\nevery_days = 30",
            "snapshots: ages_days and every_days exclude each other: keep one",
        ),
        ("[features]\nwindows_days = []", "features.windows_days: "),
        ("[features]\nwindows_days = [0]", "greater than 0, got 0"),
        ("[features]\nwindows_days = [inf]", "features.windows_days.0: "),
        ("[features]\nwindows_days = [30, 7]", "windows_days must ascend, got [30.0, 7.0]"),
        ("[features]\nwindows_days = [7, 7]", "windows_days must ascend, got [7.0, 7.0]"),
        ("[features]\nexclude = 'owner'", "features.exclude: must be a list, got 'owner'"),
        ("[events]\nsales = [1]", "events.sales.0: must be text, got 1"),
        ("columns = 3", "columns: "),
        ("label = 3", "label: must be keys with values, got 3"),
    ],
)
def test_a_wrong_value_is_refused_by_its_key_and_with_what_it_is(tmp_path, text, named):
    assert named in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "key"),
    [("[columns]\nlead_id = 3", "columns.lead_id"), ("[columns.leads]\na = 3", "columns.leads")],
)
def test_a_column_that_is_no_name_is_one_mistake(tmp_path, text, key):
    message = refused(tmp_path, text)
    assert "1 key(s) cannot be used" in message
    assert f"\n  {key}: write the column's name in quotes, got 3" in message


def test_all_that_is_wrong_is_said_at_once(tmp_path):
    text = "[label]\nhorizon_days = 0\nstrateggy = 'x'\n[split]\norder_by = 'no'\n"
    message = refused(tmp_path, text)
    assert "3 key(s) cannot be used" in message
    for key in ("label.horizon_days", "label.strateggy", "split"):
        assert f"\n  {key}: " in message


@pytest.mark.parametrize(
    "text", ["[label", "horizon_days", "a = 1\na = 2", b"\xff\xfe[\x00", "lead_id: Contact ID"]
)
def test_what_is_no_toml_is_refused(tmp_path, text):
    assert "is not TOML" in refused(tmp_path, text)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read .*check --config"):
        read(tmp_path / "nowhere.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        read(tmp_path)
