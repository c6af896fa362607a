"""Brings what is due to its endpoints, each at its own pace; what is said and when is not here."""

import logging
import threading
import time
from collections.abc import Callable, Sequence

import sqlalchemy as sa

from serving.store import endpoints, outbox
from serving.store.database import Database, DatabaseError
from serving.store.outbox import Delivery, Result
from serving.webhooks import Answer, Sender

logger = logging.getLogger(__name__)

SECONDS_OF_A_BATCH = 30.0
"""After which nothing more of it is begun: what was claimed is still this sender's then."""
GONE = 410


class Courier:
    """Delivers messages; one that hangs delays no other endpoint's.

    Parameters
    ----------
    database : Database
    sender : Sender
    now_us : callable
        The clock, microseconds since the epoch.
    uniform : callable
        Randomness, in [0, 1): by how much pauses differ.
    """

    def __init__(
        self,
        database: Database,
        sender: Sender,
        now_us: Callable[[], int],
        uniform: Callable[[], float],
    ) -> None:
        self._database, self._sender = database, sender
        self._now_us, self._uniform = now_us, uniform
        self._lock = threading.Lock()
        self._busy: dict[str, threading.Thread] = {}

    def begin(self) -> None:
        """Let every endpoint for which something is due be told, in a thread of its own."""
        with self._database.reading() as connection:
            waiting = outbox.waiting(connection, self._now_us())
        with self._lock:
            for endpoint_id in waiting:
                if endpoint_id not in self._busy:
                    thread = threading.Thread(
                        target=self._tell, args=(endpoint_id,), name="courier", daemon=True
                    )
                    self._busy[endpoint_id] = thread
                    thread.start()

    def wait(self) -> None:
        """Wait until what was begun has ended."""
        with self._lock:
            threads = [*self._busy.values()]
        for thread in threads:
            thread.join()

    def _tell(self, endpoint_id: str) -> None:
        try:
            while self._batch(endpoint_id):
                pass
        except DatabaseError as error:
            logger.warning("webhooks wait: %s", error)
        except Exception:
            logger.exception("webhooks failed")
        finally:
            with self._lock:
                del self._busy[endpoint_id]

    def _batch(self, endpoint_id: str) -> bool:
        """Send some of what is due; tell whether there may be more that can be sent now."""
        claimed = self._database.write(
            lambda connection: outbox.claim(connection, endpoint_id, self._now_us())
        )
        answers = self._sent(claimed)

        def settled(connection: sa.Connection) -> int:
            gone = 0
            for delivery, answer in zip(claimed, answers, strict=False):
                result = _result(answer)
                gone += outbox.settle(connection, delivery, result, self._now_us(), self._uniform)
            outbox.release(connection, claimed[len(answers) :])
            if answers and answers[-1].status == GONE:
                endpoints.disable(connection, endpoint_id, endpoints.GONE, self._now_us())
            return gone

        if self._database.write(settled):
            self._database.scrub()
        return bool(answers) and _is_there(answers[-1])

    def _sent(self, claimed: Sequence[Delivery]) -> list[Answer]:
        """Send one after the other, until one shows that nobody is there or time is over."""
        until = time.monotonic() + SECONDS_OF_A_BATCH
        answers: list[Answer] = []
        for each in claimed:
            now_us = self._now_us()
            secrets = endpoints.signing(each.secrets, now_us)
            try:
                answer = self._sender.send(each.url, each.message_id, each.payload, secrets, now_us)
            except Exception:
                logger.exception("a message could not be sent")
                answer = Answer(None, "not sent: the service failed on it")
            answers.append(answer)
            if not _is_there(answers[-1]) or time.monotonic() > until:
                break
        return answers


def _is_there(answer: Answer) -> bool:
    return answer.status not in {None, GONE}


def _result(answer: Answer) -> Result:
    delivered = answer.status is not None and 200 <= answer.status < 300
    return Result(delivered, answer.said, answer.pause_seconds)
