"""A real HTTP server that is told things: it keeps what came and answers as it is bidden."""

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Receiver:
    """What came, and what is answered: a status, headers, or a callable that takes the handler."""

    port: int = 0
    status: int = 200
    headers: dict = field(default_factory=dict)
    act: Callable[[BaseHTTPRequestHandler], None] | None = None
    got: list = field(default_factory=list)

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/hooks"

    @property
    def ids(self):
        return [headers["webhook-id"] for headers, _ in self.got]


@contextmanager
def receiver(tls=None, **options):
    """Run one on a free port of this machine."""
    told = Receiver(**options)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["content-length"]))
            told.got.append((dict(self.headers), body.decode()))
            if told.act is not None:
                told.act(self)
                return
            self.send_response(told.status)
            for name, value in told.headers.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, *_):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    told.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield told
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def hang(handler):
    """Answer nothing for longer than anyone waits."""
    time.sleep(5)


def trickle(handler):
    """Answer a byte at a time, so that no single read waits long."""
    for byte in b"HTTP/1.1 200 OK\r\n" * 100:
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        time.sleep(0.02)
