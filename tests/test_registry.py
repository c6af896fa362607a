"""Versions, aliases and artifacts in a registry of one file; and what is said when it fails."""

import logging
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest
import sqlalchemy

from tests.scorers import AS_OF_US, small_leads, small_scorer
from training import registry, tracking
from training.registry import RegistryError
from training.scorer import ArtifactError


@pytest.fixture
def uri(tmp_path, empty_registry):
    shutil.copy(empty_registry, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory):
    """Two artifacts and the scorers in them."""
    folder = tmp_path_factory.mktemp("artifacts")
    scorers = [small_scorer(seed).save(folder / str(seed)) for seed in (1, 2)]
    (folder / "1" / "report.html").write_text("<h1>Report</h1>")
    return [(folder / str(seed), scorer) for seed, scorer in zip((1, 2), scorers, strict=True)]


@pytest.fixture(scope="session")
def registry_of_two(tmp_path_factory, empty_registry, artifacts):
    path = tmp_path_factory.mktemp("registry-of-two") / "mlflow.db"
    shutil.copy(empty_registry, path)
    for folder, _ in artifacts:
        registry.register(folder, "leads", uri=f"sqlite:///{path}")
    return path


@pytest.fixture
def two_versions(tmp_path, registry_of_two):
    """A copy of a registry with two versions; their files are shared, a test leaves them alone."""
    shutil.copy(registry_of_two, tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def crowned(name, version=None, *, uri):
    """Make a version (default: the challenger) the champion, as the gate does when it is passed."""
    number, champion = registry.standing(name, version, uri=uri)
    return registry.promote(name, number, instead_of=champion, uri=uri)


def aliases(uri):
    return {found.version: found.aliases for found in registry.versions("leads", uri=uri)}


def test_registering_makes_a_version_that_is_the_challenger(uri, artifacts):
    folder, scorer = artifacts[0]
    made = registry.register(
        folder,
        "leads",
        uri=uri,
        metrics={"auc": 0.75},
        params={"horizon_days": 90},
        tags={"label.strategy": "ipcw"},
    )
    assert (made.name, made.version, made.aliases) == ("leads", "1", ("challenger",))
    assert made.digest == scorer.digest
    assert made.metrics == {"auc": 0.75}
    assert datetime.fromisoformat(made.created).tzinfo == UTC
    assert registry.versions(uri=uri) == (made,)


def test_the_run_has_params_tags_and_report_and_the_artifacts_lie_beside_the_database(
    uri, artifacts, tmp_path
):
    folder, _ = artifacts[0]
    params, tags = {"horizon_days": 90}, {"label.strategy": "ipcw"}
    registry.register(folder, "リード", uri=uri, params=params, tags=tags)
    with tracking.connected(uri) as client:
        found = client.search_model_versions("name = 'リード'")[0]
        run = client.get_run(str(found.run_id))
        files = [item.path for item in client.list_artifacts(run.info.run_id)]
    assert run.info.status == "FINISHED"
    assert run.data.params == {"horizon_days": "90"}
    assert run.data.tags["label.strategy"] == found.tags["label.strategy"] == "ipcw"
    assert files == ["report.html"]
    assert len(list((tmp_path / "mlartifacts").rglob("trees.txt"))) == 1


def test_registering_again_moves_challenger_and_nothing_else(two_versions):
    assert aliases(two_versions) == {"2": ("challenger",), "1": ()}


def test_promote_takes_the_challenger_and_rollback_goes_back_step_by_step(uri, artifacts):
    (first, _), (second, _) = artifacts
    for folder in (first, second, first):
        registry.register(folder, "leads", uri=uri)
        crowned("leads", uri=uri)
    assert aliases(uri) == {"3": ("champion",), "2": (), "1": ()}
    assert registry.rollback("leads", uri=uri).version == "2"
    assert registry.rollback("leads", uri=uri).version == "1"
    assert aliases(uri) == {"3": (), "2": (), "1": ("champion",)}
    with pytest.raises(RegistryError, match="version 1 replaced no other champion"):
        registry.rollback("leads", uri=uri)


def test_promote_takes_a_version_by_number_and_leaves_the_challenger(two_versions):
    assert crowned("leads", "1", uri=two_versions).aliases == ("champion",)
    assert aliases(two_versions) == {"2": ("challenger",), "1": ("champion",)}


def test_the_line_of_succession_says_who_became_champion_in_which_order(two_versions):
    for version in ("1", "2", "2"):
        crowned("leads", version, uri=two_versions)
    registry.rollback("leads", note={"how": "rollback"}, uri=two_versions)
    reigns = {v.version: v.reigns for v in registry.versions("leads", uri=two_versions)}
    assert [line["number"] for line in reigns["1"]] == [1, 3]
    assert [line["number"] for line in reigns["2"]] == [2]
    assert reigns["1"][1]["how"] == "rollback"


def test_nothing_moves_where_the_champion_is_another_than_was_compared_with(two_versions):
    crowned("leads", "1", uri=two_versions)
    with pytest.raises(RegistryError, match=r"version 1 now, it was none .* promote` again"):
        registry.promote("leads", "2", instead_of=None, uri=two_versions)
    assert aliases(two_versions) == {"2": ("challenger",), "1": ("champion",)}


def test_who_moves_aliases_waits_for_another_and_gives_up(two_versions, monkeypatch):
    monkeypatch.setattr(registry, "LOCK_SECONDS", 0.1)
    with (
        registry._locked(two_versions, "leads"),
        pytest.raises(RegistryError, match="another process has been moving"),
    ):
        crowned("leads", "1", uri=two_versions)
    assert crowned("leads", "1", uri=two_versions).aliases == ("champion",)


def test_promoting_the_champion_again_does_not_forget_what_it_replaced(two_versions):
    for version in ("1", "2", "2"):
        crowned("leads", version, uri=two_versions)
    assert registry.rollback("leads", uri=two_versions).version == "1"


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda uri: registry.versions("lead", uri=uri), r"no model lead \(there: leads\)"),
        (lambda uri: crowned("leads", "7", uri=uri), r"no version 7 \(there: 2, 1\)"),
        (lambda uri: registry.rollback("leads", uri=uri), "leadqual promote leads"),
        (
            lambda uri: registry.open_model("models:/leads@champion", uri=uri),
            r"alias champion \(challenger is version 2\): promote one",
        ),
        (lambda uri: registry.open_model("models:/leads@best", uri=uri), "models:/leads/1"),
        (lambda uri: registry.open_model("models:/leads", uri=uri), "models:/NAME@champion"),
        (lambda uri: registry.open_model("models:/leads/first", uri=uri), "models:/NAME/3"),
        (lambda uri: registry.open_model("models:/leads/9", uri=uri), "no version 9"),
    ],
)
def test_what_is_not_there_is_said_with_what_is_and_what_next(two_versions, act, said):
    with pytest.raises(RegistryError, match=said):
        act(two_versions)


def test_a_model_opens_by_folder_alias_and_version_with_the_same_scores(two_versions, artifacts):
    crowned("leads", "1", uri=two_versions)
    leads, as_of = small_leads(5, 40), np.full(40, AS_OF_US)
    (folder, first), (_, second) = artifacts
    opened = {
        text: registry.open_model(text, uri=two_versions)
        for text in (str(folder), "models:/leads@champion", "models:/leads/2")
    }
    scores = {text: scorer.score(leads, as_of).score for text, scorer in opened.items()}
    expected = first.score(leads, as_of).score
    np.testing.assert_array_equal(scores[str(folder)], expected)
    np.testing.assert_array_equal(scores["models:/leads@champion"], expected)
    np.testing.assert_array_equal(scores["models:/leads/2"], second.score(leads, as_of).score)
    assert opened["models:/leads@champion"].label == f"leads/1 sha256:{first.digest}"
    assert opened[str(folder)].label == f"leadqual/local sha256:{first.digest}"


def test_a_pinned_digest_is_held_for_folders_and_for_registered_models(two_versions, artifacts):
    (folder, first), (_, second) = artifacts
    for text in (str(folder), "models:/leads/1"):
        pinned = f"sha256:{first.digest.upper()}"
        opened = registry.open_model(text, expect_digest=pinned, uri=two_versions)
        assert opened.digest == first.digest
        with pytest.raises(ArtifactError, match="another model than the pinned one"):
            registry.open_model(text, expect_digest=second.digest, uri=two_versions)


@pytest.mark.parametrize("name", ["trees.txt", "manifest.json"])
def test_a_fetched_artifact_stays_in_the_cache_until_it_is_damaged(two_versions, tmp_path, name):
    cache = tmp_path / "cache"
    fetched = registry.fetch("models:/leads/1", cache, uri=two_versions)
    manifest = fetched.folder / "manifest.json"
    assert sorted(path.name for path in fetched.folder.iterdir()) == [
        "estimator.skops",
        "manifest.json",
        "reference.json",
        "trees.txt",
    ]
    before = manifest.stat().st_mtime_ns
    assert registry.fetch("models:/leads/1", cache, uri=two_versions) == fetched
    assert manifest.stat().st_mtime_ns == before, "fetched again"

    (fetched.folder / name).write_text("{}")
    with pytest.raises(ArtifactError):
        registry.opened(fetched)
    opened = registry.open_model("models:/leads/1", uri=two_versions, cache=cache)
    assert opened.digest == fetched.digest


def test_a_version_whose_files_were_changed_in_the_store_is_refused(uri, artifacts, tmp_path):
    registry.register(artifacts[0][0], "leads", uri=uri)
    for manifest in (tmp_path / "mlartifacts").rglob("manifest.json"):
        manifest.write_text(manifest.read_text() + " ")
    with pytest.raises(ArtifactError, match="another model than the pinned one"):
        registry.open_model("models:/leads/1", uri=uri)


def test_the_cache_keeps_the_newest_few_and_temporary_folders_none(
    uri, artifacts, tmp_path, monkeypatch
):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    folder, _ = artifacts[0]
    for version in range(1, 6):
        registry.register(folder, "leads", uri=uri)
        registry.fetch(f"models:/leads/{version}", tmp_path / "cache", uri=uri)
    kept = sorted(path.name.partition("-")[0] for path in (tmp_path / "cache/leads").glob("[0-9]*"))
    assert kept == ["3", "4", "5"]
    registry.open_model("models:/leads/5", uri=uri)
    assert list(temporary.iterdir()) == []


def test_a_version_that_others_registered_is_listed_and_not_opened(uri):
    with tracking.connected(uri) as client:
        client.create_registered_model("theirs")
        client.create_model_version("theirs", "file:///somewhere")
    assert [(v.version, v.digest) for v in registry.versions("theirs", uri=uri)] == [("1", "")]
    with pytest.raises(RegistryError, match="leadqual did not register it"):
        registry.open_model("models:/theirs/1", uri=uri)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://127.0.0.1:9", r"127.0.0.1:9 cannot be used .*[Cc]onnection refused"),
        ("sqlite:///{tmp}/none.db", "there is no registry at .*none.db"),
        ("sqlite:///{tmp}/text.db", "file is not a database"),
        ("mlruns", "mlruns is no registry"),
        ("oddsql://host/db", "oddsql"),
    ],
)
def test_a_registry_that_cannot_be_used_is_named_at_once(address, said, tmp_path):
    (tmp_path / "text.db").write_text("no database at all, but long enough to be looked into" * 9)
    with pytest.raises(RegistryError, match=said):
        registry.versions(uri=address.format(tmp=tmp_path))
    assert not (tmp_path / "none.db").exists()


def test_a_database_whose_driver_is_missing_or_that_is_down_hides_its_password(monkeypatch):
    def fail(*_, **__):
        raise ModuleNotFoundError("No module named 'psycopg'", name="psycopg")

    monkeypatch.setattr(sqlalchemy, "create_engine", fail)
    with pytest.raises(RegistryError, match="pip install psycopg") as told:
        registry.versions(uri="postgresql://mlflow:secret@127.0.0.1:9/mlflow")
    assert "secret" not in str(told.value)


@pytest.mark.parametrize("name", ["", "a/b", "a@b", "a:b", "it's"])
def test_a_name_that_no_address_can_hold_is_refused(name, uri, artifacts):
    with pytest.raises(RegistryError, match="cannot name a model"):
        registry.register(artifacts[0][0], name, uri=uri)


def test_a_folder_without_an_artifact_is_not_registered(uri, tmp_path):
    with pytest.raises(RegistryError, match=r"holds no manifest\.json"):
        registry.register(tmp_path / "nothing", "leads", uri=uri)
    assert registry.versions(uri=uri) == ()


def test_importing_the_registry_imports_neither_mlflow_nor_the_scorer():
    code = (
        "import sys, training.registry; print({'mlflow', 'lightgbm', 'numba'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_registering_leaves_the_callers_settings_and_logs_alone(uri, artifacts, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db")
    handlers = logging.getLogger().handlers[:]
    registry.register(artifacts[0][0], "leads", uri=uri)
    assert os.environ["MLFLOW_TRACKING_URI"] == "sqlite:///other.db"
    assert logging.getLogger().handlers == handlers
