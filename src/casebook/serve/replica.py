"""One replica of the scoring service, in a process of its own: ``python -m casebook.serve.replica``.

Started by :func:`casebook.serve.run.start_replicas`, which binds the socket and passes it on, so that the port is the
kernel's choice and nothing races for it.
"""

import argparse
import os
import socket
import threading
from pathlib import Path

__all__ = ["end_with_parent", "main"]


def main() -> None:
    """Serves an artefact on an inherited socket until told to stop, or until whoever started it is gone."""
    parser = argparse.ArgumentParser(prog="python -m casebook.serve.replica", description="Serve an artefact.")
    parser.add_argument("--artefact", type=Path, required=True, help="a directory made by write_artefact")
    parser.add_argument("--fd", type=int, required=True, help="an inherited listening socket")
    parser.add_argument("--store", help="the address of an open store")
    parser.add_argument("--store-timeout-ms", type=float, required=True)
    parser.add_argument("--deadline-ms", type=float, required=True)
    parser.add_argument("--max-in-flight", type=int, required=True)
    parser.add_argument("--workers", type=int, required=True)
    options = parser.parse_args()
    threading.Thread(target=end_with_parent, daemon=True).start()

    from casebook.serve.artefact import read_artefact
    from casebook.serve.run import uvicorn_server
    from casebook.serve.service import scoring_app
    from casebook.serve.store import connect

    scorer, version = read_artefact(options.artefact)
    app = scoring_app(
        scorer,
        store=connect(options.store, timeout_s=options.store_timeout_ms / 1000) if options.store else None,
        version=version,
        deadline_ms=options.deadline_ms,
        max_in_flight=options.max_in_flight,
        workers=options.workers,
    )
    uvicorn_server(app).run(sockets=[socket.socket(fileno=options.fd)])


def end_with_parent() -> None:
    """Ends this process when whoever started it is gone; for a thread of its own.

    Standard input is a pipe that the parent holds open: its end is the parent's end, however that came.
    """
    # Not through sys.stdin, whose lock a waiting thread would hold while the interpreter shuts down.
    while os.read(0, 1024):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
