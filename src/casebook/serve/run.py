"""Running the service: in a thread for a quick look, in processes of their own for anything that is measured."""

import contextlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from casebook import validate

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI

__all__ = ["Service", "run_in_thread", "start_process", "start_replicas", "uvicorn_server"]

START_S = 60.0  # importing the libraries of a model on a busy machine
STOP_S = 5.0  # for requests that are in flight


@dataclass
class Service:
    """A running service.

    Attributes:
        url: such as ``http://127.0.0.1:43123``.
        pid: the process that serves; ``None`` when it is a thread of this one.
    """

    url: str
    pid: int | None
    _stop: Callable[[], None]

    def stop(self) -> None:
        """Answers what is in flight, then ends. Harmless when it has ended already."""
        self._stop()

    def cpu_seconds(self) -> float:
        """Processor time that the service has used so far, in user and kernel mode.

        Raises:
            ValueError: it is a thread, whose share of this process can't be told.
        """
        if self.pid is None:
            raise ValueError("service is a thread: expected one started by start_replicas")
        import psutil

        times = psutil.Process(self.pid).cpu_times()
        return float(times.user + times.system)

    def __enter__(self) -> "Service":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()


def uvicorn_server(app: "FastAPI") -> "uvicorn.Server":
    """The HTTP server as every service here runs it: no access log, connections kept for as long as a load lasts."""
    import uvicorn

    return uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, timeout_keep_alive=120))


def _listen() -> tuple[socket.socket, str]:
    """A listening socket on a port of the kernel's choice, on this machine alone, and its URL."""
    # The protocol is named, since asyncio turns Nagle's algorithm off only where it reads TCP. Left on, the algorithm
    # holds each small answer back until the client's delayed acknowledgement, some 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    return listener, f"http://127.0.0.1:{listener.getsockname()[1]}"


@contextlib.contextmanager
def run_in_thread(app: "FastAPI") -> Iterator[Service]:
    """Runs an app in a thread of this process for as long as the ``with`` block lasts.

    It shares the interpreter with whoever asks it: right for showing what it answers, wrong for measuring how fast.

    Raises:
        RuntimeError: the app failed to start.
    """
    listener, url = _listen()
    server = uvicorn_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()

    def stop() -> None:
        server.should_exit = True
        thread.join(STOP_S)

    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the app failed to start: its log says why")
            time.sleep(0.005)
        yield Service(url, None, stop)
    finally:
        stop()
        listener.close()


@contextlib.contextmanager
def start_replicas(
    artefact: Path,
    *,
    replicas: int = 1,
    store: str | None = None,
    store_timeout_ms: float = 20.0,
    deadline_ms: float = 50.0,
    max_in_flight: int = 32,
    workers: int = 4,
) -> Iterator[list[Service]]:
    """Serves an artefact from several processes, each on a port of its own, for as long as the ``with`` block lasts.

    They end with this process, however it ends.

    Args:
        artefact: a directory made by :func:`casebook.serve.artefact.write_artefact`.
        replicas: how many processes.
        store: the address of an open store.
        store_timeout_ms: milliseconds after which the store counts as down.
        deadline_ms: as in :func:`casebook.serve.service.scoring_app`.
        max_in_flight: as there, for each replica.
        workers: as there, for each replica.

    Yields:
        The services, each of them answering.

    Raises:
        ValueError: no such directory, or a number that is not positive.
        RuntimeError: a replica did not start; the message ends with the last lines that it wrote.
    """
    if not Path(artefact).is_dir():
        raise ValueError(f"artefact is {str(artefact)!r}: expected a directory made by write_artefact")
    command = [sys.executable, "-m", "casebook.serve.replica", "--artefact", str(artefact)]
    for name, value in (("store_timeout_ms", store_timeout_ms), ("deadline_ms", deadline_ms)):
        command += [f"--{name.replace('_', '-')}", str(validate.number(name, value, above=0))]
    for name, value in (("max_in_flight", max_in_flight), ("workers", workers)):
        command += [f"--{name.replace('_', '-')}", str(validate.positive_int(name, value))]
    if store is not None:
        command += ["--store", store]

    with contextlib.ExitStack() as stack:
        # All are started before any is waited for: they import at the same time.
        started = [_start(command, stack) for _ in range(validate.positive_int("replicas", replicas))]
        for service, process, errors in started:
            _wait(service, process, errors)
        yield [service for service, _, _ in started]


@contextlib.contextmanager
def start_process(command: list[str]) -> Iterator[Service]:
    """Serves from a process of its own for as long as the ``with`` block lasts.

    Args:
        command: of a program that takes a listening socket by ``--fd``, answers ``GET /healthz``, and watches its
            standard input as :func:`casebook.serve.replica.end_with_parent` does.

    Yields:
        The service, answering.

    Raises:
        RuntimeError: it did not start; the message ends with the last lines that it wrote.
    """
    with contextlib.ExitStack() as stack:
        service, process, errors = _start(command, stack)
        _wait(service, process, errors)
        yield service


def _start(command: list[str], stack: contextlib.ExitStack) -> tuple[Service, subprocess.Popen[bytes], IO[bytes]]:
    listener, url = _listen()
    errors = stack.enter_context(tempfile.TemporaryFile())
    with listener:
        process = subprocess.Popen(
            [*command, "--fd", str(listener.fileno())],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            pass_fds=[listener.fileno()],
            start_new_session=True,  # an interrupt typed at a notebook stops the cell, not the service
        )

    def stop() -> None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        assert process.stdin is not None
        process.stdin.close()

    service = Service(url, process.pid, stop)
    stack.callback(service.stop)
    return service, process, errors


def _wait(service: Service, process: subprocess.Popen[bytes], errors: IO[bytes]) -> None:
    import httpx

    try:
        # The socket listens already, so this waits in its queue until the replica takes it.
        httpx.get(f"{service.url}/healthz", timeout=START_S).raise_for_status()
    except httpx.HTTPError as error:
        errors.seek(0)
        last = errors.read().decode(errors="replace").strip().splitlines()[-3:]
        raise RuntimeError("a replica did not start: " + " / ".join(last or ["it wrote nothing"])) from error
