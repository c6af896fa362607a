"""How MLflow is reached: settings, address and errors, the log of a run; versions are not here."""

import json
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from mlflow import MlflowClient

DEFAULT_URI = "sqlite:///mlflow.db"
ARTIFACT = "leadqual"
"""The folder of the artifact inside the MLflow model."""

REPORTS = ("report.html", "report.json")
JUDGED = "judged"
"""The folder of the judged leads (`training.judged_leads`)."""
PACKAGES = (
    "leadqual",
    "mlflow",
    "numpy",
    "numba",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "lightgbm",
    "skops",
)
"""What the pyfunc needs, where it is installed."""

CONNECT_SECONDS = 3
ANSWER_SECONDS = 2
_SETTINGS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_CONFIGURE_LOGGING": "false",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_SKIP_PIP_REQUIREMENTS_CHECK": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",  # a second try would take as long again
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": str(CONNECT_SECONDS),
}


class RegistryError(RuntimeError):
    """A registry, or a version in it, that cannot be used: what is wrong, and what to do next."""


class RegistryUnreachable(RegistryError):
    """A registry that does not answer as one: later it may."""


def mlflow() -> Any:
    """Import MLflow, told before to be quiet, and quick about a server that is down.

    What the user has set in the environment stays.
    """
    for key, value in _SETTINGS.items():
        os.environ.setdefault(key, value)  # noqa: TID251  # MLflow takes these from nowhere else
    import mlflow  # noqa: PLC0415

    return mlflow


@contextmanager
def connected(uri: str, *, create: bool = False) -> Iterator["MlflowClient"]:
    """Connect to a tracking server or database; what goes wrong inside is a `RegistryError`.

    MLflow's global address is `uri` inside: parts of MLflow look it up there, whatever they are
    told. An embedded database is only made with `create`.
    """
    if uri.startswith("http"):
        _knock(uri)
    flow = mlflow()
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    try:
        _probe(uri, create)
        with _global_address(uri):
            yield flow.MlflowClient(uri, registry_uri=uri)
    except (flow.exceptions.MlflowException, SQLAlchemyError, OSError) as error:
        raise _unusable(uri, _reason(error)) from error
    except ModuleNotFoundError as error:
        raise RegistryError(
            f"{without_password(uri)} needs a driver: pip install {error.name}"
        ) from error


def without_password(uri: str) -> str:
    """Hide a password.

    >>> without_password("postgresql://mlflow:secret@db/mlflow")
    'postgresql://mlflow:***@db/mlflow'
    """
    scheme, _, rest = uri.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}:***@{host}" if at and ":" in user else uri


def log_run(
    client: "MlflowClient",
    folder: Path,
    name: str,
    *,
    metrics: Mapping[str, float],
    params: Mapping[str, object],
    tags: Mapping[str, str],
) -> tuple[str, str]:
    """Log a training run with its artifact, as a model that MLflow can serve, and its report.

    Returns
    -------
    run_id, model_id : str
    """
    flow = mlflow()
    nested = flow.active_run() is not None
    with (
        warnings.catch_warnings(),
        tempfile.TemporaryDirectory() as staged,
        flow.start_run(experiment_id=_experiment(client, name), nested=nested, tags=tags) as run,
    ):
        warnings.filterwarnings("ignore", message=".*input example was not provided")
        flow.log_params(dict(params))
        for report in REPORTS:
            if (folder / report).exists():
                flow.log_artifact(str(folder / report))
        if (folder / JUDGED).is_dir():
            flow.log_artifacts(str(folder / JUDGED), JUDGED)
        logged = flow.pyfunc.log_model(
            name=ARTIFACT,
            python_model=str(Path(__file__).with_name("pyfunc_model.py")),
            artifacts={ARTIFACT: str(_artifact_only(folder, Path(staged) / ARTIFACT))},
            signature=_signature(),
            pip_requirements=_requirements(),
        )
        flow.log_metrics(dict(metrics), model_id=logged.model_id)
    return run.info.run_id, logged.model_id


def _knock(uri: str) -> None:
    """Ask a server for anything at all, before the seconds that MLflow's import takes."""
    from http.client import HTTPConnection, HTTPException, HTTPSConnection  # noqa: PLC0415
    from urllib.parse import urlsplit  # noqa: PLC0415

    place = urlsplit(uri)
    kind = HTTPSConnection if place.scheme == "https" else HTTPConnection
    try:
        server = kind(place.hostname or "", place.port, timeout=ANSWER_SECONDS)
        try:
            server.request("GET", f"{place.path.rstrip('/')}/health")
            server.getresponse()
        finally:
            server.close()
    except (OSError, HTTPException, ValueError) as error:
        raise _unusable(uri, _reason(error)) from error


def _unusable(uri: str, why: str) -> RegistryUnreachable:
    return RegistryUnreachable(
        f"the registry at {without_password(uri)} cannot be used ({why}): "
        "check that it runs and that MLFLOW_TRACKING_URI names it"
    )


def _probe(uri: str, create: bool) -> None:
    """Connect to a database once: MLflow itself would try for a hundred seconds."""
    if "://" not in uri:
        raise RegistryError(
            f"{uri} is no registry: MLFLOW_TRACKING_URI is a server or a database, "
            f"such as {DEFAULT_URI}"
        )
    if uri.startswith("http"):
        return
    import sqlalchemy  # noqa: PLC0415

    address = sqlalchemy.make_url(uri)
    embedded = address.get_backend_name() == "sqlite"
    file = Path(address.database or "").absolute()
    if embedded and not create and not file.exists():
        raise RegistryError(
            f"there is no registry at {uri} ({file} does not exist): register a model with "
            "`leadqual train --register NAME`, or set MLFLOW_TRACKING_URI to where it is"
        )
    wait = {"timeout" if embedded else "connect_timeout": CONNECT_SECONDS}
    engine = sqlalchemy.create_engine(uri, connect_args=wait)
    try:
        sqlalchemy.inspect(engine).get_table_names()
    finally:
        engine.dispose()


@contextmanager
def _global_address(uri: str) -> Iterator[None]:
    """Set MLflow's global address for a while; MLflow also writes it into the environment."""
    before = os.environ.get("MLFLOW_TRACKING_URI")  # noqa: TID251
    mlflow().set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow().set_tracking_uri(before)


def _reason(error: BaseException) -> str:
    """Say in one line what lies at the bottom, without the layers of retries above it."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


def _experiment(client: "MlflowClient", name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is None:
        place = _artifact_location(client.tracking_uri, name)
        return client.create_experiment(name, artifact_location=place)
    if found.lifecycle_stage != "active":
        client.restore_experiment(found.experiment_id)
    return found.experiment_id


def _artifact_location(uri: str, name: str) -> str | None:
    """Say where artifacts go: beside an embedded database; a server knows for itself."""
    if uri.startswith("http"):
        return None
    from sqlalchemy import make_url  # noqa: PLC0415

    database = Path(make_url(uri).database or "") if uri.startswith("sqlite") else Path("mlflow.db")
    return (database.absolute().parent / "mlartifacts" / quote(name, safe="")).as_uri()


def _artifact_only(folder: Path, staged: Path) -> Path:
    staged.mkdir()
    manifest = (folder / "manifest.json").read_bytes()
    (staged / "manifest.json").write_bytes(manifest)
    for name in json.loads(manifest)["files"]:
        shutil.copyfile(folder / name, staged / name)
    return staged


def _requirements() -> list[str]:
    installed = {distribution.name.lower() for distribution in metadata.distributions()}
    return [f"{name}=={metadata.version(name)}" for name in PACKAGES if name in installed]


def _signature() -> Any:
    from mlflow.models import ModelSignature  # noqa: PLC0415
    from mlflow.types import ColSpec, Schema  # noqa: PLC0415

    needed, optional = ("lead_id", "created_at", "as_of"), ("attributes", "events")
    inputs = Schema(
        [
            *(ColSpec("string", name) for name in needed),
            *(ColSpec("string", name, required=False) for name in optional),
        ]
    )
    kinds = {"score": "double", "percentile": "double"}
    answers = ("lead_id", "score", "percentile", "grade", "decision", "why")
    return ModelSignature(
        inputs, Schema([*(ColSpec(kinds.get(name, "string"), name) for name in answers)])
    )
