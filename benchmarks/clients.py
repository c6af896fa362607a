"""Those who talk to the service in benchmarks: a CRM that sends, and a receiver of webhooks."""

import http.client
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from benchmarks.processes import HOST

RETRY_SECONDS = 0.2
ANSWER_SECONDS = 30
SCOPES = ("score", "read", "write", "admin")


class Crm:
    """One connection of a client with a key; used by one thread."""

    def __init__(self, port: int, token: str) -> None:
        self._port, self._head = port, {"Authorization": f"Bearer {token}"}
        self._connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request once and return its answer; raises OSError where none comes.

        An answer that is no 200 ends the benchmark, but for a 503, which is a `ConnectionError`.
        """
        if self._connection is None:
            self._connection = http.client.HTTPConnection(HOST, self._port, timeout=ANSWER_SECONDS)
        sent = None if body is None else json.dumps(body)
        try:
            head = (
                self._head if sent is None else {**self._head, "Content-Type": "application/json"}
            )
            self._connection.request(method, path, sent, head)
            answer = self._connection.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            self._connection = None
            raise ConnectionError(str(error)) from error
        if answer.status == 503:
            raise ConnectionError("503")
        if answer.status != 200:
            raise SystemExit(f"{method} {path}: {answer.status} {content[:500]!r}")
        return json.loads(content)

    def until_answered(self, path: str, body: Any) -> Any:
        """Send a POST again and again until it is acknowledged."""
        while True:
            try:
                return self.ask("POST", path, body)
            except OSError:
                time.sleep(RETRY_SECONDS)

    def pages(self, path: str) -> Iterator[Any]:
        """Give the items of all pages of a list."""
        cursor = ""
        while cursor is not None:
            page = self.ask("GET", f"{path}{'&' if '?' in path else '?'}limit=200{cursor}")
            yield from page["items"]
            cursor = page["next"] and f"&cursor={page['next']}"


def key(url: str, client: str, scopes: Sequence[str] = SCOPES) -> str:
    """Make a key in a service's database, which is made where there is none."""
    from serving.server import now_us  # noqa: PLC0415
    from serving.store import keys  # noqa: PLC0415
    from serving.store.database import Database  # noqa: PLC0415

    database = Database.open(url)
    with database.writing() as connection:
        made = keys.create(connection, client, scopes, now_us())
    database.close()
    return made


@contextmanager
def receiver() -> Iterator[tuple[str, Counter[str]]]:
    """Receive webhooks: its address, and how often each message id came."""
    seen: Counter[str] = Counter()
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                seen[self.headers["webhook-id"]] += 1
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer((HOST, 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://{HOST}:{server.server_address[1]}/", seen
    finally:
        server.shutdown()


def sqlite_url(folder: Path) -> str:
    """Return the URL of a database in a folder."""
    return f"sqlite:///{folder / 'leadqual.db'}"
