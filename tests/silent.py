"""A server that takes connections and never answers."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def silent_server(port: int = 0) -> Iterator[str]:
    """Listen, and give the URL."""
    with socket.create_server(("127.0.0.1", port), backlog=64) as listener:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
