"""The model registry: versions of an artifact under a name, and the aliases that point at them."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from training import tracking
from training.tracking import (
    ARTIFACT,
    DEFAULT_URI,
    JUDGED,
    REPORTS,
    RegistryError,
    RegistryUnreachable,
    connected,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

    from training.judged_leads import JudgedLeads
    from training.scorer import LeadScorer

__all__ = [
    "DEFAULT_URI",
    "Fetched",
    "RegistryError",
    "RegistryUnreachable",
    "Version",
    "beside",
    "check",
    "fetch",
    "judged_leads",
    "keep_verdict",
    "meant",
    "open_model",
    "opened",
    "promote",
    "register",
    "rollback",
    "standing",
    "versions",
]

CHAMPION, CHALLENGER = "champion", "challenger"
DIGEST_TAG = "leadqual.digest"
PREVIOUS_TAG = "leadqual.previous_champion"
RESULT_TAG, BECAUSE_TAG = "leadqual.gate.result", "leadqual.gate.because"
SUCCESSION_TAG = "leadqual.succession."
"""Tags of the model, numbered: which version became the champion, when, and why."""
LOCK_SECONDS = 10.0
KEPT_FOLDERS = 3
"""So many fetched versions of a name stay in a cache."""


@dataclass(frozen=True)
class Version:
    """A registered version of a model.

    Attributes
    ----------
    name, version : str
    aliases : tuple of str
        ``champion``, ``challenger`` and any that others have set.
    digest : str
        SHA-256 of the artifact's manifest; empty where `register` did not make the version.
    created : str
        ISO 8601, UTC.
    metrics : mapping of str to float
        As logged with it.
    gate : str
        What the gate said last: ``passed``, ``forced``, ``refused``, or empty.
    reigns : tuple of mappings
        Each time it became the champion: ``number``, ``at``, ``how``, ``result``, ``because``.
    """

    name: str
    version: str
    aliases: tuple[str, ...]
    digest: str
    created: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    gate: str = ""
    reigns: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Fetched:
    """An artifact brought from the registry; `digest` is what the registry says it must be."""

    folder: Path
    name: str
    version: str
    digest: str


def register(
    folder: Path,
    name: str,
    *,
    uri: str = DEFAULT_URI,
    metrics: Mapping[str, float] | None = None,
    params: Mapping[str, object] | None = None,
    tags: Mapping[str, str] | None = None,
) -> Version:
    """Log a training run, register its artifact as the next version, and call it ``challenger``.

    Parameters
    ----------
    folder : Path
        What `leadqual train` wrote: the artifact, and the report beside it.
    name : str
    uri : str
        The tracking URI: of a server, or of a database (artifacts are then kept beside it).
    metrics, params, tags : mappings
        Figures, settings and notes of the run; the tags go to the version, too.

    Raises
    ------
    RegistryError
    """
    _check_name(name)
    digest = _digest(folder)
    with connected(uri, create=True) as client:
        run_id, model_id = tracking.log_run(
            client, folder, name, metrics=metrics or {}, params=params or {}, tags=tags or {}
        )
        if name not in _names(client):
            client.create_registered_model(name)
        created = client.create_model_version(
            name,
            f"models:/{model_id}",
            run_id=run_id,
            model_id=model_id,
            tags={**(tags or {}), DIGEST_TAG: digest},
        )
        _point(client, name, CHALLENGER, str(created.version))
        return _version(client, _model(client, name), created)


def check(name: str, *, uri: str = DEFAULT_URI) -> None:
    """Raise at once, before a long run, what `register` would raise about a name and a registry.

    Raises
    ------
    RegistryError
    """
    _check_name(name)
    with connected(uri, create=True) as client:
        _names(client)


def versions(name: str | None = None, *, uri: str = DEFAULT_URI) -> tuple[Version, ...]:
    """List the versions of one model, or of all, newest first."""
    with connected(uri) as client:
        models = [_model(client, known) for known in (_names(client) if name is None else [name])]
        return tuple(
            _version(client, model, found)
            for model in models
            for found in _versions(client, model.name)
        )


def standing(
    name: str, version: str | None = None, *, uri: str = DEFAULT_URI
) -> tuple[str, str | None]:
    """Return the version that is meant (default: the challenger), and the present champion."""
    with connected(uri) as client:
        model = _model(client, name)
        number = _of_alias(model, CHALLENGER) if version is None else version
        return str(_numbered(client, model, number).version), _aliases(model).get(CHAMPION)


def promote(
    name: str,
    version: str,
    *,
    instead_of: str | None,
    note: Mapping[str, str] | None = None,
    uri: str = DEFAULT_URI,
) -> Version:
    """Call a version ``champion``, and note in a tag what it replaces; the gate is not asked.

    Parameters
    ----------
    instead_of : str or None
        The champion that the decision rests on: where it is another by now, nothing is moved.
    note : mapping
        What the line of succession says beside version and number.
    """
    with _locked(uri, name), connected(uri) as client:
        model = _model(client, name)
        chosen = _numbered(client, model, version)
        previous = _aliases(model).get(CHAMPION)
        if previous != instead_of:
            raise RegistryError(
                f"the champion of {name} is version {previous} now, it was {instead_of or 'none'} "
                f"when version {version} was compared with it: run `leadqual promote` again"
            )
        if previous not in {None, version}:
            client.set_model_version_tag(name, version, PREVIOUS_TAG, previous)
        _point(client, name, CHAMPION, version)
        _succeed(client, model, version, note or {})
        if _aliases(model).get(CHALLENGER) == version:
            client.delete_registered_model_alias(name, CHALLENGER)
        return _version(client, _model(client, name), chosen)


def rollback(
    name: str, *, note: Mapping[str, str] | None = None, uri: str = DEFAULT_URI
) -> Version:
    """Call that version ``champion`` again which the present one replaced."""
    with _locked(uri, name), connected(uri) as client:
        model = _model(client, name)
        present = _numbered(client, model, _of_alias(model, CHAMPION))
        previous = present.tags.get(PREVIOUS_TAG)
        if not previous:
            raise RegistryError(
                f"{name} version {present.version} replaced no other champion, there is nothing "
                f"to go back to: choose a version with `leadqual promote {name} --version V`"
            )
        restored = _numbered(client, model, previous)
        _point(client, name, CHAMPION, previous)
        _succeed(client, model, previous, note or {})
        client.delete_model_version_tag(name, present.version, PREVIOUS_TAG)
        return _version(client, _model(client, name), restored)


def keep_verdict(
    name: str, version: str, verdict: Mapping[str, Any], *, uri: str = DEFAULT_URI
) -> None:
    """Keep what the gate said: as ``gate/verdict.json`` of the run, and its result in tags."""
    with connected(uri) as client:
        found = _numbered(client, _model(client, name), version)
        client.log_dict(str(found.run_id), dict(verdict), "gate/verdict.json")
        client.set_model_version_tag(name, version, BECAUSE_TAG, verdict.get("because") or "")
        client.set_model_version_tag(name, version, RESULT_TAG, verdict["result"])


def judged_leads(
    name: str, version: str, folder: Path, *, uri: str = DEFAULT_URI
) -> "JudgedLeads | None":
    """Bring the judged leads that were registered with a version; None where there are none."""
    from training.judged_leads import JudgedLeads  # noqa: PLC0415  # it takes seconds

    with connected(uri) as client:
        run_id = _numbered(client, _model(client, name), version).run_id
        if not run_id or JUDGED not in {item.path for item in client.list_artifacts(run_id)}:
            return None
        with tempfile.TemporaryDirectory(dir=folder) as staged:
            return JudgedLeads.load(Path(client.download_artifacts(run_id, JUDGED, staged)))


def beside(text: str, folder: Path, *, uri: str = DEFAULT_URI) -> Path:
    """Bring what was registered beside a model, its report and judged leads, into a folder.

    Returns
    -------
    Path
        The folder; it lacks what was not registered.
    """
    name, version, alias = _parse(text)
    with connected(uri) as client:
        model = _model(client, name)
        found = _numbered(client, model, _of_alias(model, alias) if alias else version)
        run_id = found.run_id or ""
        there = {item.path for item in client.list_artifacts(run_id)} if run_id else set()
        for path in there & {*REPORTS, JUDGED}:
            client.download_artifacts(run_id, path, str(folder))
    return folder


def meant(text: str, *, uri: str = DEFAULT_URI) -> tuple[str, str, str]:
    """Return name, version and digest of what ``models:/NAME@ALIAS`` means now; fetch nothing."""
    named = _parse(text)
    with connected(uri) as client:
        return _meant(client, named)


def fetch(text: str, cache: Path, *, uri: str = DEFAULT_URI, spare: Path | None = None) -> Fetched:
    """Bring what ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION`` means into a cache folder.

    What the cache holds undamaged is not fetched again. Nothing is left in temporary folders, and
    the cache keeps the newest `KEPT_FOLDERS` of a name, and `spare`. Processes may share it.
    ``LeadScorer.load`` checks whether it is sound.
    """
    named = _parse(text)
    with connected(uri) as client:
        name, version, digest = _meant(client, named)
        folder = cache / quote(name, safe="") / f"{version}-{digest[:16]}"
        folder.parent.mkdir(parents=True, exist_ok=True)
        with (folder.parent / ".lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _holds(folder, digest):
                _download(f"models:/{name}/{version}", folder)
            _prune(folder, spare)
    return Fetched(folder, name, version, digest)


def open_model(
    text: str,
    *,
    expect_digest: str | None = None,
    uri: str = DEFAULT_URI,
    cache: Path | None = None,
) -> "LeadScorer":
    """Open the model that ``--model`` names, with all checks: the door of commands and service.

    Parameters
    ----------
    text : str
        A folder that `leadqual train` wrote, or ``models:/NAME@champion`` or ``models:/NAME/3``.
    expect_digest : str, optional
        The digest that the caller has pinned, with or without ``sha256:`` before it.
    uri : str
        The registry.
    cache : Path, optional
        Where artifacts from the registry are kept; without it nothing is kept.

    Raises
    ------
    ArtifactError
        The artifact is damaged, of another format, or not the pinned one.
    RegistryError
        The registry cannot be used, or has no such version.
    """
    from training.scorer import LeadScorer  # noqa: PLC0415  # it takes seconds, others need it not

    if not text.startswith("models:/"):
        return LeadScorer.load(Path(text), expect_digest=expect_digest)
    if cache is not None:
        return opened(fetch(text, cache, uri=uri), expect_digest)
    with tempfile.TemporaryDirectory() as folder:
        return opened(fetch(text, Path(folder), uri=uri), expect_digest)


def opened(fetched: Fetched, expect_digest: str | None = None) -> "LeadScorer":
    """Open what was fetched, with all checks.

    Raises
    ------
    ArtifactError
        It is damaged, of another format, or not the pinned one.
    """
    from training.scorer import ArtifactError, LeadScorer  # noqa: PLC0415

    if expect_digest and expect_digest.removeprefix("sha256:").lower() != fetched.digest:
        raise ArtifactError(
            f"{fetched.name} version {fetched.version} has the digest {fetched.digest}, expected "
            f"{expect_digest}: it is another model than the pinned one; name the version that was "
            "pinned, or pin this one after checking where it comes from"
        )
    return LeadScorer.load(
        fetched.folder, expect_digest=fetched.digest, name=fetched.name, version=fetched.version
    )


def _parse(text: str) -> tuple[str, str, str]:
    """Split a model URI into name, version and alias.

    >>> _parse("models:/leads@champion"), _parse("models:/leads/3")
    (('leads', '', 'champion'), ('leads', '3', ''))
    """
    rest = text.removeprefix("models:/")
    name, at, alias = rest.partition("@")
    if text != rest and at and name and alias and "/" not in rest:
        return name, "", alias
    name, _, version = rest.partition("/")
    if text != rest and name and version.isdigit() and "@" not in rest:
        return name, version, ""
    raise RegistryError(f"{text} names no model: write models:/NAME@champion or models:/NAME/3")


def _meant(client: "MlflowClient", named: tuple[str, str, str]) -> tuple[str, str, str]:
    name, version, alias = named
    model = _model(client, name)
    found = _numbered(client, model, _of_alias(model, alias) if alias else version)
    digest = found.tags.get(DIGEST_TAG, "")
    if not digest:
        raise RegistryError(
            f"{name} version {found.version} has no tag {DIGEST_TAG}, so leadqual did not "
            f"register it: register one with `leadqual train --register {name}`"
        )
    return name, str(found.version), digest


def _check_name(name: str) -> None:
    if not name.strip() or set(name) & set("/:@\"'"):
        raise RegistryError(
            f"{name!r} cannot name a model: use a name without / : @ and quotes, such as leads-jp"
        )


def _digest(folder: Path) -> str:
    try:
        return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()
    except OSError as error:
        raise RegistryError(
            f"{folder} holds no manifest.json ({error.strerror}): register a folder that "
            "`leadqual train` wrote"
        ) from error


def _names(client: "MlflowClient") -> list[str]:
    return [model.name for model in client.search_registered_models(max_results=1000)]


def _model(client: "MlflowClient", name: str) -> "RegisteredModel":
    known = _names(client)
    if name not in known:
        raise RegistryError(
            f"there is no model {name} (there: {', '.join(known) or 'none yet'}): "
            f"register one with `leadqual train --register {name}`"
        )
    return client.get_registered_model(name)


def _aliases(model: "RegisteredModel") -> dict[str, str]:
    return {alias: str(version) for alias, version in model.aliases.items()}


def _of_alias(model: "RegisteredModel", alias: str) -> str:
    aliases = _aliases(model)
    if alias in aliases:
        return aliases[alias]
    known = ", ".join(f"{name} is version {version}" for name, version in sorted(aliases.items()))
    mend = {
        CHAMPION: f"promote one with `leadqual promote {model.name}`",
        CHALLENGER: f"choose one with `leadqual promote {model.name} --version V`",
    }.get(alias, f"name another, or a version as models:/{model.name}/1")
    raise RegistryError(
        f"no version of {model.name} has the alias {alias} ({known or 'there are none'}): {mend}"
    )


def _numbered(client: "MlflowClient", model: "RegisteredModel", version: str) -> "ModelVersion":
    found = {str(item.version): item for item in _versions(client, model.name)}
    if version not in found:
        raise RegistryError(
            f"{model.name} has no version {version} (there: {', '.join(found) or 'none'}): "
            f"`leadqual models {model.name}` lists them"
        )
    return found[version]


def _versions(client: "MlflowClient", name: str) -> "list[ModelVersion]":
    """Return all versions of a model, newest first."""
    page = client.search_model_versions(f"name = '{name}'")
    found = list(page)
    while page.token:
        page = client.search_model_versions(f"name = '{name}'", page_token=page.token)
        found += page
    return sorted(found, key=lambda version: -int(version.version))


def _point(client: "MlflowClient", name: str, alias: str, version: str) -> None:
    client.set_registered_model_alias(name, alias, version)
    now = _aliases(client.get_registered_model(name)).get(alias)
    if now != version:
        raise RegistryError(
            f"{alias} of {name} is version {now}, not {version}: someone else moves it; try again"
        )


def _succeed(
    client: "MlflowClient", model: "RegisteredModel", version: str, note: Mapping[str, str]
) -> None:
    """Write the next line of the succession, unless a run that broke off has written it."""
    line = _succession(model)
    if line and line[-1]["version"] == version:
        return
    entry = json.dumps({"version": version, **note}, ensure_ascii=False)
    client.set_registered_model_tag(model.name, f"{SUCCESSION_TAG}{len(line) + 1:05}", entry)


def _succession(model: "RegisteredModel") -> list[dict[str, Any]]:
    numbered = sorted(item for item in model.tags.items() if item[0].startswith(SUCCESSION_TAG))
    return [{"number": at, **json.loads(text)} for at, (_, text) in enumerate(numbered, 1)]


@contextmanager
def _locked(uri: str, name: str) -> Iterator[None]:
    """Let one process of this machine at a time move a model's aliases; a kill frees the lock."""
    key = hashlib.sha256(f"{uri} {name}".encode()).hexdigest()[:16]
    with (Path(tempfile.gettempdir()) / f"leadqual-{os.getuid()}-{key}.lock").open("a") as file:
        give_up = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > give_up:
                    raise RegistryError(
                        f"another process has been moving the aliases of {name} for "
                        f"{LOCK_SECONDS:.0f} s: wait for it, then try again"
                    ) from error
                time.sleep(0.05)
        yield


def _version(client: "MlflowClient", model: "RegisteredModel", found: "ModelVersion") -> Version:
    version = str(found.version)
    return Version(
        model.name,
        version,
        tuple(sorted(alias for alias, at in _aliases(model).items() if at == version)),
        found.tags.get(DIGEST_TAG, ""),
        datetime.fromtimestamp(found.creation_timestamp / 1000, UTC).isoformat(timespec="seconds"),
        client.get_run(found.run_id).data.metrics if found.run_id else {},
        found.tags.get(RESULT_TAG, ""),
        tuple(line for line in _succession(model) if line["version"] == version),
    )


def _holds(folder: Path, digest: str) -> bool:
    """Tell whether all files of an artifact lie there undamaged."""
    if not (folder / "manifest.json").exists() or _digest(folder) != digest:
        return False
    files = json.loads((folder / "manifest.json").read_bytes())["files"]
    return all(
        (folder / name).exists()
        and hashlib.sha256((folder / name).read_bytes()).hexdigest() == expected
        for name, expected in files.items()
    )


def _download(model_uri: str, folder: Path) -> None:
    """Fetch into a hidden folder of the cache, then rename: a fetch that breaks off leaves none."""
    with tempfile.TemporaryDirectory(prefix=".fetching-", dir=folder.parent) as staged:
        fetched = tracking.mlflow().artifacts.download_artifacts(
            f"{model_uri}/artifacts/{ARTIFACT}", dst_path=staged
        )
        if folder.exists():
            shutil.rmtree(folder)
        Path(fetched).rename(folder)


def _prune(newest: Path, spare: Path | None) -> None:
    newest.touch()
    fetched = [path for path in newest.parent.iterdir() if not path.name.startswith(".")]
    for old in sorted(fetched, key=lambda path: path.stat().st_mtime)[:-KEPT_FOLDERS]:
        if old != spare:
            shutil.rmtree(old, ignore_errors=True)
