"""Keeps a service's model at what an alias of the registry names; MLflow itself is not here."""

import logging
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from serving import last_good
from serving.chores import Chore
from serving.served_model import ModelSlot, ServedModel, Supply
from training import registry
from training.registry import Fetched, RegistryError, RegistryUnreachable
from training.scorer import ArtifactError, LeadScorer

logger = logging.getLogger(__name__)

ANSWERS_WITHIN_SECONDS = 20.0
"""The registry, when it is asked for a version; MLflow gives up a silent one before that."""
FETCHED_WITHIN_SECONDS = 120.0
JITTER = 0.2
REFUSED_AGAIN_US = 300 * 1_000_000
"""After so long a version that was refused is tried again."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Source:
    """Where a model comes from; can be sent to another process.

    Attributes
    ----------
    model : str
        ``models:/NAME@ALIAS``.
    uri : str
        Of the registry.
    expect_digest : str or None
    cache : Path or None
        Keeps what was fetched; without it there is no start without the registry.
    poll_seconds : float
        How often the registry is asked.
    """

    model: str
    uri: str
    expect_digest: str | None = None
    cache: Path | None = None
    poll_seconds: float = 30.0


class Follower:
    """Fills a slot, and swaps its model when the alias moves; whatever fails, the old one serves.

    Parameters
    ----------
    source : Source
    slot : ModelSlot
    now_us : callable
        The clock, microseconds since the epoch.
    on_swap : callable, optional
        Told of every model that is served from now on, after it is.
    patience_seconds : float
        For which the registry is waited for.
    """

    def __init__(
        self,
        source: Source,
        slot: ModelSlot,
        now_us: Callable[[], int],
        on_swap: Callable[[ServedModel], object] = lambda _model: None,
        patience_seconds: float = ANSWERS_WITHIN_SECONDS,
    ) -> None:
        self.on_swap = on_swap
        self._source = source
        self._slot = slot
        self._now_us = now_us
        self._patience = patience_seconds
        self._asking: threading.Thread | None = None
        self._kept: Fetched | None = None
        self._refused: tuple[str, str, int] | None = None
        self._supply = slot.supply = Supply()
        if source.cache is not None:
            self._kept = last_good.recall(source.cache, source.model, source.uri)

    def chore(self) -> Chore:
        """Return what is done by the clock."""
        return Chore("model", self._source.poll_seconds, self.poll, JITTER)

    def start(self) -> None:
        """Fill the slot: from the registry, or where it has none to serve, with what served last.

        Where that is damaged the slot stays empty, for `poll` to fill.

        Raises
        ------
        RegistryError
            The registry cannot be used or has no such model, and nothing served before.
        ArtifactError
            The model cannot be used, and nothing served before.
        """
        try:
            self._look()
        except (RegistryError, ArtifactError) as error:
            if self._kept is None:
                raise
            self._failed(error)
            self._start_with(self._kept)

    def poll(self) -> None:
        """Ask the registry once, and swap the model where it names another."""
        try:
            self._look()
        except (RegistryError, ArtifactError) as error:
            self._failed(error)
        else:
            self._reached()

    def _look(self) -> None:
        name, version, digest = self._named()
        if self._is_served(version, digest) or self._was_refused(version, digest):
            return
        opened = partial(self._open, name, version)
        try:
            found = self._patiently(opened, FETCHED_WITHIN_SECONDS)
            self._serve(*found)
        except RegistryError:
            raise
        except Exception as error:
            self._refused = version, digest, self._now_us()
            if isinstance(error, ArtifactError):
                raise
            raise ArtifactError(f"{name} version {version} cannot be used: {error!r}") from error
        self._refused = self._supply.refused = None

    def _failed(self, error: RegistryError | ArtifactError) -> None:
        if isinstance(error, RegistryError):
            self._missed(error)
            return
        self._reached()
        self._refuse(error)

    def _named(self) -> tuple[str, str, str]:
        ask = partial(registry.meant, self._source.model, uri=self._source.uri)
        return self._patiently(ask, self._patience)

    def _patiently(self, work: Callable[[], Result], seconds: float) -> Result:
        """Do what may hang in a thread of its own, and wait for it so long; never for two."""
        if self._asking is not None and self._asking.is_alive():
            raise RegistryUnreachable("the registry has not answered the last time it was asked")
        future: Future[Result] = Future()
        self._asking = threading.Thread(target=_fulfil, args=(future, work), daemon=True)
        self._asking.start()
        try:
            return future.result(seconds)
        except TimeoutError as error:
            raise RegistryUnreachable(f"the registry gave no answer in {seconds:g} s") from error

    def _open(self, name: str, version: str) -> tuple[LeadScorer, Fetched]:
        source = self._source
        with _folder(source.cache) as cache:
            text = f"models:/{name}/{version}"
            spare = self._kept.folder if self._kept else None
            fetched = registry.fetch(text, cache, uri=source.uri, spare=spare)
            return registry.opened(fetched, source.expect_digest), fetched

    def _start_with(self, kept: Fetched) -> None:
        try:
            scorer = registry.opened(kept, self._source.expect_digest)
        except ArtifactError:
            self._slot.why_empty = (
                "the registry has nothing to serve, and the model that served last is damaged or "
                "not the pinned one: the log says more"
            )
            logger.exception("the model that served last cannot be used")
            return
        self._serve(scorer, kept)
        logger.warning("the model that served last serves, the registry has none")

    def _serve(self, scorer: LeadScorer, fetched: Fetched) -> None:
        model, source, before = ServedModel.of(scorer), self._source, self._slot.model
        self._slot.model = model
        if source.cache is not None:
            self._kept = fetched
            try:
                last_good.note(source.cache, source.model, source.uri, fetched)
            except OSError:
                logger.exception("the model could not be kept for a start without the registry")
        if before is not None:
            self._supply.swaps += 1
        logger.info(
            "a model is served",
            extra={"model": scorer.name, "version": scorer.version, "digest": scorer.digest},
        )
        self.on_swap(model)

    def _is_served(self, version: str, digest: str) -> bool:
        model = self._slot.model
        served = model is not None and (model.scorer.version, model.scorer.digest)
        if served != (version, digest):
            return False
        self._refused = self._supply.refused = None
        return True

    def _was_refused(self, version: str, digest: str) -> bool:
        if self._refused is None or self._refused[:2] != (version, digest):
            return False
        return 0 <= self._now_us() - self._refused[2] < REFUSED_AGAIN_US

    def _refuse(self, error: ArtifactError) -> None:
        version = self._refused[0] if self._refused else ""
        self._supply.refused = version
        self._supply.refusals += 1
        if self._slot.model is None:
            self._slot.why_empty = f"version {version} of the model is refused: the log says why"
        told = {"model": self._source.model, "version": version, "why": str(error)}
        logger.error("a version of the model is refused", extra=told)

    def _reached(self) -> None:
        if self._supply.missed_since_us is not None:
            logger.info("the registry answers again")
        self._supply.missed_since_us = None

    def _missed(self, error: RegistryError) -> None:
        supply = self._supply
        supply.misses += 1
        supply.trouble = (
            "unreachable" if isinstance(error, RegistryUnreachable) else "without this model"
        )
        if supply.missed_since_us is None:
            supply.missed_since_us = self._now_us()
            logger.warning("the registry cannot be used", extra={"why": str(error)})


@contextmanager
def _folder(cache: Path | None) -> Iterator[Path]:
    if cache is not None:
        yield cache
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _fulfil(future: "Future[Result]", work: Callable[[], Result]) -> None:
    try:
        future.set_result(work())
    except BaseException as error:  # noqa: BLE001  # whoever waits gets it
        future.set_exception(error)
