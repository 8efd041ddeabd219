"""Serve the built book on this machine: python tools/serve.py [PORT]."""

import errno
import functools
import http.server
import sys
from pathlib import Path

HTML = Path(__file__).resolve().parent.parent / "_build" / "html"


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Says nothing of each request, and lets a rebuilt page be seen at once."""

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def end_headers(self) -> None:
        """The usual ones, and that the browser must ask again."""
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()


def main(text: str) -> int:
    """Serve until interrupted; returns the exit status."""
    if not text.isdecimal() or int(text) > 65535:
        print(f"PORT is {text}: expected a number from 0 (any free port) to 65535", file=sys.stderr)
        return 2
    try:
        server = http.server.ThreadingHTTPServer(
            ("127.0.0.1", int(text)), functools.partial(Quiet, directory=str(HTML))
        )
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            print(f"Port {text} is in use: choose another, such as `make serve PORT={int(text) + 1}`", file=sys.stderr)
        elif error.errno == errno.EACCES:
            print(
                f"Port {text} needs an administrator: choose one above 1023, such as `make serve PORT=8000`",
                file=sys.stderr,
            )
        else:
            raise
        return 1
    print(f"The book is at http://127.0.0.1:{server.server_port}/ (Ctrl-C stops)", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        print()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else "8000"))
