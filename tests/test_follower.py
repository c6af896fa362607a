"""A service whose model is what an alias names: moved, damaged, and with the registry gone."""

import asyncio
import json
import logging
import shutil
import threading
import time
from dataclasses import replace

import pytest

from serving import last_good
from serving.chores import Chore, Chores
from serving.follower import REFUSED_AGAIN_US, Follower, Source
from serving.served_model import ModelSlot, ServedModel
from tests.http_service import Service
from tests.running import running
from tests.scorers import AS_OF_US, json_leads, small_scorer
from tests.silent import silent_server
from training import registry
from training.registry import RegistryError, RegistryUnreachable
from training.scorer import ArtifactError

MODEL = "models:/leads@champion"


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("followed")
    return [(folder / str(n), small_scorer(n).save(folder / str(n))) for n in (1, 2)]


@pytest.fixture(scope="module")
def two_versions(tmp_path_factory, empty_registry, artifacts):
    path = tmp_path_factory.mktemp("followed-registry") / "mlflow.db"
    shutil.copy(empty_registry, path)
    for folder, _ in artifacts:
        registry.register(folder, "leads", uri=f"sqlite:///{path}")
    crown("1", f"sqlite:///{path}")
    return path


@pytest.fixture
def uri(tmp_path, two_versions):
    """Version 1 is the champion."""
    shutil.copytree(two_versions.parent, tmp_path / "registry")
    return f"sqlite:///{tmp_path}/registry/mlflow.db"


@pytest.fixture
def world(tmp_path, uri):
    return World(tmp_path, uri)


class World:
    """A registry, and services that follow its champion; their clock is moved by hand."""

    def __init__(self, folder, uri):
        self.folder, self.now_us = folder, AS_OF_US
        self.source = Source(MODEL, uri, cache=folder / "cache")

    def follower(self, start=True, **changes):
        follower = Follower(
            replace(self.source, **changes), ModelSlot(), lambda: self.now_us, patience_seconds=5
        )
        if start:
            follower.start()
        return follower

    def take_away(self):
        """Make the registry unreachable."""
        (self.folder / "registry").rename(self.folder / "away")

    def bring_back(self):
        (self.folder / "away").rename(self.folder / "registry")


def crown(version, uri):
    _, champion = registry.standing("leads", version, uri=uri)
    registry.promote("leads", version, instead_of=champion, uri=uri)


def served(follower):
    model = follower._slot.model
    return model and model.scorer.version


def service_of(follower):
    return Service(slot=follower._slot, follower=follower)


def test_a_moved_alias_swaps_the_model_and_answers_name_it(world, artifacts):
    follower = world.follower()
    service = service_of(follower)
    told: list[ServedModel] = []
    follower.on_swap = told.append
    leads = json_leads(3, 20)
    answers = []
    for version in ("1", "2"):
        crown(version, world.source.uri)
        follower.poll()
        answer = service.score(*leads).json()
        assert answer["model"]["version"] == version
        answers.append([result["score"] for result in answer["results"]])
        assert service.get("/readyz").json() == {"status": "ready", "model": f"leads/{version}"}
    assert answers[0] != answers[1]
    for (_, scorer), scores in zip(artifacts, answers, strict=True):
        assert [each["score"] for each in Service(scorer).results(*leads)] == scores
    assert [model.scorer.version for model in told] == ["2"]
    text = service.get("/metrics").text
    assert "leadqual_model_swaps_total 1.0" in text
    assert "leadqual_registry_up 1.0" in text


def test_metrics_name_the_model_that_was_swapped_in(world):
    follower = world.follower()
    service = service_of(follower)
    crown("2", world.source.uri)
    follower.poll()
    assert 'leadqual_model_info{digest="' in service.get("/metrics").text
    assert 'name="leads",version="2"} 1.0' in service.get("/metrics").text


def test_a_request_is_answered_by_the_model_it_began_with(world):
    """What is read of the slot is read once: the old model goes on where a request has it."""
    follower = world.follower()
    before = follower._slot.model
    crown("2", world.source.uri)
    follower.poll()
    assert follower._slot.model is not before
    assert before.scorer.version == "1"


def test_a_version_that_is_damaged_is_refused_said_and_tried_again(world, monkeypatch, caplog):
    follower = world.follower()
    service = service_of(follower)
    opened = registry.opened

    def broken(fetched, expect_digest=None):
        if fetched.version == "2":
            (fetched.folder / "trees.txt").write_text("tree\n")
        return opened(fetched, expect_digest)

    monkeypatch.setattr(registry, "opened", broken)
    crown("2", world.source.uri)
    with caplog.at_level(logging.ERROR):
        follower.poll()
        follower.poll()
    assert len([r for r in caplog.records if "refused" in r.message]) == 1, "tried at every look"
    ready = service.get("/readyz")
    assert ready.status_code == 200
    assert ready.json() == {
        "status": "ready",
        "model": "leads/1",
        "refused": "version 2 cannot be used: the log says why",
    }
    text = service.get("/metrics").text
    assert "leadqual_model_refused 1.0" in text
    assert 'leadqual_model_refresh_failures_total{why="refused"} 1.0' in text

    monkeypatch.setattr(registry, "opened", opened)
    world.now_us += REFUSED_AGAIN_US
    follower.poll()
    assert served(follower) == "2"
    assert service.get("/readyz").json() == {"status": "ready", "model": "leads/2"}


def test_a_refused_version_does_not_push_the_good_one_out_of_the_cache(world, artifacts):
    follower = world.follower()
    for version in ("3", "4", "5", "6"):
        registry.register(artifacts[1][0], "leads", uri=world.source.uri)
        crown(version, world.source.uri)
        pinned = Follower(
            replace(world.source, expect_digest="0" * 64), follower._slot, lambda: world.now_us
        )
        pinned.poll()
        assert follower._slot.supply.refused == version
    assert served(world.follower(expect_digest=artifacts[0][1].digest)) == "1"
    world.take_away()
    assert served(world.follower()) == "1"


def test_a_version_with_another_digest_than_the_pinned_one_is_refused(world, artifacts):
    follower = world.follower(expect_digest=artifacts[0][1].digest)
    crown("2", world.source.uri)
    follower.poll()
    assert served(follower) == "1"
    assert follower._slot.supply.refused == "2"
    crown("1", world.source.uri)
    follower.poll()
    assert follower._slot.supply.refused is None


def test_while_the_registry_is_gone_the_model_serves_on_and_readyz_says_since_when(world):
    follower = world.follower()
    service = service_of(follower)
    world.take_away()
    follower.poll()
    world.now_us += 60_000_000
    follower.poll()
    assert (
        service.get("/readyz").json()["registry"] == "without this model since 2026-01-31T00:00:00Z"
    )
    assert "leadqual_registry_up 0.0" in service.get("/metrics").text
    world.bring_back()
    follower.poll()
    assert "registry" not in service.get("/readyz").json()


def test_without_the_registry_it_starts_with_what_served_last(world):
    crown("2", world.source.uri)
    world.follower()
    with silent_server() as silent:
        last_good_of(world, silent)
        follower = world.follower(uri=silent)
        assert served(follower) == "2"
        ready = service_of(follower).get("/readyz")
        assert ready.status_code == 200
        assert ready.json()["registry"] == "unreachable since 2026-01-31T00:00:00Z"


def last_good_of(world, uri):
    """Let what served last count for another address of the registry."""
    kept = last_good.recall(world.source.cache, MODEL, world.source.uri)
    assert kept
    last_good.note(world.source.cache, MODEL, uri, kept)


def test_a_registry_that_never_answers_is_waited_for_once_and_nobody_else_waits(world):
    follower = world.follower()
    service = service_of(follower)
    with silent_server() as silent:
        follower._source = replace(follower._source, uri=silent)
        looking = threading.Thread(target=follower.poll)
        looking.start()
        while looking.is_alive():
            started = time.monotonic()
            assert service.score(*json_leads(3, 1)).status_code == 200
            assert time.monotonic() - started < 2
        looking.join()
    assert service.get("/readyz").json()["registry"].startswith("unreachable since")


def test_work_that_hangs_is_left_behind_and_not_begun_again(world):
    follower = world.follower()
    let_go = threading.Event()
    with pytest.raises(RegistryUnreachable, match=r"no answer in 0\.05 s"):
        follower._patiently(let_go.wait, 0.05)
    with pytest.raises(RegistryUnreachable, match="the last time"):
        follower._patiently(lambda: 1, 5)
    let_go.set()
    follower._asking.join()
    assert follower._patiently(lambda: 1, 5) == 1


@pytest.mark.parametrize("name", ["trees.txt", "manifest.json", "reference.json"])
def test_a_damaged_last_model_is_refused_and_the_service_recovers_by_itself(world, name):
    world.follower()
    for damaged in (world.source.cache / "leads").glob(f"*/{name}"):
        damaged.write_text(damaged.read_text()[:-10] + "##########")
    with silent_server() as silent:
        last_good_of(world, silent)
        follower = world.follower(uri=silent)
        service = service_of(follower)
        answer = service.get("/readyz")
        assert answer.status_code == 503
        assert answer.headers["retry-after"]
        assert "damaged" in answer.json()["detail"]
        refused = service.score(*json_leads(3, 1))
        assert (refused.status_code, refused.json()["errors"][0]["code"]) == (503, "no_model")
    follower._source = world.source
    follower.poll()
    assert service.get("/readyz").json() == {"status": "ready", "model": "leads/1"}


def test_where_nothing_served_before_the_caller_is_told(world):
    with silent_server() as silent, pytest.raises(RegistryUnreachable, match="cannot be used"):
        world.follower(uri=silent)
    with pytest.raises(RegistryError, match="there is no model others"):
        world.follower(model="models:/others@champion")
    with pytest.raises(ArtifactError, match="another model than the pinned one"):
        world.follower(expect_digest="0" * 64)


def test_a_note_that_is_no_note_counts_as_none(world):
    world.follower()
    (note,) = (world.source.cache / last_good.FOLDER).iterdir()
    for content in ("", "[]", "{}", '{"folder": 1}'):
        note.write_text(content)
        assert last_good.recall(world.source.cache, MODEL, world.source.uri) is None


def test_a_password_that_changed_makes_no_other_registry(world):
    follower = world.follower()
    kept = last_good.recall(world.source.cache, MODEL, world.source.uri)
    assert kept
    last_good.note(world.source.cache, MODEL, "postgresql://u:one@db/mlflow", kept)
    assert last_good.recall(world.source.cache, MODEL, "postgresql://u:two@db/mlflow") == kept
    assert last_good.recall(world.source.cache, MODEL, "postgresql://u:two@other/mlflow") is None
    assert json.loads(next((world.source.cache / last_good.FOLDER).iterdir()).read_text())
    assert served(follower) == "1"


def test_without_a_cache_nothing_is_kept(world):
    follower = world.follower(cache=None)
    assert served(follower) == "1"
    assert not (world.folder / "cache").exists()


def test_an_application_follows_while_it_runs(world):
    follower = world.follower(start=False, poll_seconds=0.05)
    service = service_of(follower)

    async def lived():
        async with service.app.router.lifespan_context(service.app):
            assert served(follower) == "1"
            crown("2", world.source.uri)
            for _ in range(200):
                if served(follower) == "2":
                    return
                await asyncio.sleep(0.1)

    asyncio.run(lived())
    assert served(follower) == "2"


def test_pauses_of_a_chore_vary_by_its_jitter(monkeypatch):
    waited: list[float] = []
    chores = Chores(
        [Chore("a", 10, lambda: None, jitter=0.2)], lambda: 0, uniform=iter((0, 0.5, 1)).__next__
    )
    monkeypatch.setattr(chores._stopping, "wait", waited.append)
    monkeypatch.setattr(chores._stopping, "is_set", lambda: len(waited) == 3)
    chores._repeat(chores._chores[0])
    assert waited == [8.0, 10.0, 12.0]


def test_the_command_follows_starts_without_the_registry_and_finds_it_again(world):
    options = f"--model={MODEL}", f"--registry={world.source.uri}"
    settings = {
        "LEADQUAL_MODEL_CACHE": str(world.folder / "kept"),
        "LEADQUAL_MODEL_POLL_SECONDS": "1",
    }

    def until(service, wanted):
        for _ in range(600):
            found = service.until(200, "GET", "/readyz")
            if wanted(found):
                return
            time.sleep(0.1)
        raise AssertionError(found)

    with running(*options, **settings) as service:
        until(service, lambda found: found == {"status": "ready", "model": "leads/1"})
        crown("2", world.source.uri)
        until(service, lambda found: found["model"] == "leads/2")
        assert service.terminate() < 20
    world.take_away()
    with running(*options, "--workers=2", **settings) as service:
        until(service, lambda found: found["model"] == "leads/2" and "registry" in found)
        world.bring_back()
        until(service, lambda found: "registry" not in found)
        assert service.terminate() < 20
