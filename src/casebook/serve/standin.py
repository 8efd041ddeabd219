"""A stand-in for Redis where none can be had: the few commands that the store uses, in memory, on a Unix socket.

It speaks Redis's own protocol (RESP2: arrays of bulk strings), so the client, the replicas and the failure drill are
the same as with the real one. It is not Redis: one Python process does its work between everything else that runs
there.
"""

import contextlib
import socket
import socketserver
import threading
import time
from pathlib import Path

__all__ = ["StandIn"]


class _Handler(socketserver.StreamRequestHandler):
    """One connection: read a command, answer it, until the client leaves."""

    server: "_Server"

    def handle(self) -> None:
        self.server.connections.add(self.connection)
        with contextlib.suppress(OSError):
            while command := self._command():
                self.wfile.write(self.server.answer(command))
        self.server.connections.discard(self.connection)

    def _command(self) -> list[bytes]:
        head = self.rfile.readline()
        if not head.startswith(b"*"):
            return []
        parts = []
        for _ in range(int(head[1:])):
            length = int(self.rfile.readline()[1:])
            parts.append(self.rfile.read(length))
            self.rfile.read(2)
        return parts


def _bulk(value: bytes | None) -> bytes:
    return b"$-1\r\n" if value is None else b"$%d\r\n%b\r\n" % (len(value), value)


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, path: str) -> None:
        super().__init__(path, _Handler)
        self.connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._values: dict[bytes, tuple[bytes, float]] = {}  # the value, and when it expires

    def answer(self, command: list[bytes]) -> bytes:
        name, arguments = command[0].upper(), command[1:]
        with self._lock:
            if name == b"PING":
                return b"+PONG\r\n"
            if name == b"MGET":
                return b"*%d\r\n" % len(arguments) + b"".join(_bulk(self._get(key)) for key in arguments)
            if name == b"MSET":
                for key, value in zip(arguments[::2], arguments[1::2], strict=True):
                    self._values[key] = (value, float("inf"))
                return b"+OK\r\n"
            if name == b"SET" and len(arguments) == 4 and arguments[2].upper() == b"PX":
                self._values[arguments[0]] = (arguments[1], time.monotonic() + int(arguments[3]) / 1000)
                return b"+OK\r\n"
            if name == b"INFO":
                used = sum(len(key) + len(value) for key, (value, _) in self._values.items())
                return _bulk(b"used_memory:%d\r\n" % used)
        return b"-ERR unknown command\r\n"

    def _get(self, key: bytes) -> bytes | None:
        value, expires = self._values.get(key, (None, 0.0))
        return value if time.monotonic() < expires else None


class StandIn:
    """The stand-in on one Unix socket; it can be killed and started again, and then it is empty, as Redis would be.

    Args:
        path: where the socket is made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._server: _Server | None = None

    def start(self) -> None:
        """Listens; returns when a client can connect."""
        self._path.unlink(missing_ok=True)
        self._server = _Server(str(self._path))
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def kill(self) -> None:
        """Drops every connection and every value, and stops listening."""
        if self._server is None:
            return
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self._server.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self._server = None
