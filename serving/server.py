"""The process that serves: socket, workers, how they stop; what is answered is not here."""

import gc
import logging
import logging.config
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from uvicorn.supervisors import Multiprocess

from features.findings import UsageError
from features.terminal import say
from serving import logs
from serving.follower import Follower, Source
from serving.http.app import create_app
from serving.served_model import ModelSlot, ServedModel
from serving.settings import Settings, is_loopback
from serving.store import erasure
from serving.store.database import Database
from training.scorer import LeadScorer

logger = logging.getLogger(__name__)

KEEP_ALIVE_SECONDS = 30
ANSWERS_WITHIN_SECONDS = 60
"""A worker that does not is replaced; on a busy machine it takes long to start."""

HANGING_SECONDS = 2
"""For which threads that cannot be stopped are waited for at the end."""

Load = Callable[[], LeadScorer]


class AddressRefused(UsageError):
    """An address that this service must not, or cannot, listen on."""


@dataclass(frozen=True)
class Worker:
    """Makes the application in a worker's process; can be sent to one if `load` can."""

    load: Load | Source
    settings: Settings

    def __call__(self) -> FastAPI:
        """Return the application, which loads its model at start-up; it ends with its parent."""
        threading.Thread(target=_end_with_parent, daemon=True).start()
        threading.Thread(target=_end_with_main, daemon=True).start()
        slot = ModelSlot()
        if isinstance(self.load, Source):
            return _app(slot, self.settings, follower=Follower(self.load, slot, now_us))
        return _app(slot, self.settings, self.load)


def run(load: Load | Source, settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; requests in flight are answered before it returns.

    Parameters
    ----------
    load : callable or Source
        Opens the model: once before anything listens, so that its errors are the caller's, and with
        several workers once in each; it is sent to their processes. A `Source` is followed.
    settings : Settings

    Raises
    ------
    AddressRefused
        The address reaches beyond this machine, or is taken.
    """
    if settings.database_url is None:
        refuse_exposed(settings.host)
    slot, follower = ModelSlot(), None
    if isinstance(load, Source):
        logging.config.dictConfig(logs.config(settings.log_level))
        follower = Follower(load, slot, now_us)
        follower.start()
    else:
        slot.model = ServedModel.of(load())
    if settings.workers > 1:
        refuse_shared(settings)
        serve(Worker(load, settings), settings)
    else:
        serve(_app(slot, settings, follower=follower), settings)


def followed(model: str, uri: str, expect_digest: str | None, settings: Settings) -> Source:
    """Return the source of a model that an alias names; it is kept on disk where that can be."""
    cache: Path | None = settings.model_cache
    try:
        settings.model_cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=settings.model_cache):
            pass
    except OSError as error:
        say(
            f"{settings.model_cache} cannot keep models ({error.strerror}), so the service will "
            "not start while the registry is down: name another folder in LEADQUAL_MODEL_CACHE"
        )
        cache = None
    return Source(model, uri, expect_digest, cache, settings.model_poll_seconds)


def serve(app: FastAPI | Worker, settings: Settings) -> None:
    """Serve an application in this process, or a worker's in several, until SIGTERM or SIGINT."""
    with _listening(settings) as listener:
        config = _config(app, settings)
        if isinstance(app, Worker):
            supervisor = Multiprocess(config, [listener])  # which heeds SIGTERM from now on
            logger.info("listening", extra={"address": address(listener)})
            supervisor.run()
            return
        server = uvicorn.Server(config)
        threading.Thread(target=_end_with_main, daemon=True).start()
        with _stopped_by_sigterm(server):
            logger.info("listening", extra={"address": address(listener)})
            gc.collect()
            gc.freeze()  # the model stays: no collection need look at it again
            server.run([listener])


def refuse_exposed(host: str) -> None:
    """Raise `AddressRefused` for a host that others can reach.

    >>> refuse_exposed("127.0.0.1")
    """
    if not is_loopback(host):
        raise AddressRefused(
            f"without API keys the service listens on this machine only, and {host} can be reached "
            "from others: use --host 127.0.0.1, with a proxy that asks for a login in front of it"
        )


def refuse_shared(settings: Settings) -> None:
    """Raise `UsageError` for several processes that would write to one SQLite file."""
    if settings.database_url and settings.database_url.startswith("sqlite"):
        raise UsageError(
            "one process may write to a SQLite database: use --workers 1, or PostgreSQL"
        )


def address(listener: socket.socket) -> str:
    """Return the URL of a listening socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def now_us() -> int:
    """Return the clock, microseconds since the epoch (UTC)."""
    return time.time_ns() // 1_000


def _app(
    slot: ModelSlot,
    settings: Settings,
    load: Load | None = None,
    follower: Follower | None = None,
) -> FastAPI:
    """Compose the application, with the database where one is given."""
    return create_app(
        slot,
        now_us=now_us,
        threads=settings.threads,
        load=load,
        follower=follower,
        database=None if settings.database_url is None else _database(settings),
        policy=settings.policy,
        rate_limit_per_second=settings.rate_limit_per_second,
        tombstones_file=settings.tombstones_file,
    )


def _database(settings: Settings) -> Database:
    """Open the database, and erase what must not be in it any more."""
    assert settings.database_url is not None  # noqa: S101  # asked before
    database = Database.open(settings.database_url)
    if settings.tombstones_file is not None:
        erased = erasure.apply(database, settings.tombstones_file, now_us())
        if erased:
            logger.warning("erased %d leads again: the database was restored", erased)
    return database


def _end_with_parent() -> None:
    """Stop when the process that started this one is gone, be it killed: the port is its own."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _end_with_main() -> None:
    """End when the main thread has, though others wait for a database that hangs."""
    threading.main_thread().join()
    time.sleep(HANGING_SECONDS)
    os._exit(0)


@contextmanager
def _listening(settings: Settings) -> Iterator[socket.socket]:
    logging.config.dictConfig(logs.config(settings.log_level))
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        listener = socket.create_server((settings.host, settings.port), family=family)
    except OSError as error:
        raise AddressRefused(
            f"cannot listen on {settings.host} port {settings.port} ({error.strerror}): "
            "choose another with --port"
        ) from error
    with listener:
        yield listener


@contextmanager
def _stopped_by_sigterm(server: uvicorn.Server) -> Iterator[None]:
    """Let SIGTERM stop a server before uvicorn listens to it, and end with 0 when it comes again.

    uvicorn raises it once more after its stop. Nothing is raised here: an exception out of a signal
    handler is lost when it happens to run inside a destructor, and the service would never end.
    """

    def stop(_number: int, _frame: object) -> None:
        server.should_exit = True

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _config(app: FastAPI | Worker, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=isinstance(app, Worker),
        workers=settings.workers,
        lifespan="on",
        ws="none",
        access_log=False,
        server_header=False,
        log_config=logs.config(settings.log_level),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_worker_healthcheck=ANSWERS_WITHIN_SECONDS,
        timeout_graceful_shutdown=settings.stop_within_seconds,
    )
