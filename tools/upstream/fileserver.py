"""Serves a directory over HTTP: `python fileserver.py DIRECTORY ADDRESS PORT`."""

import functools
import http.server
import sys


class Handler(http.server.SimpleHTTPRequestHandler):
    """Connections stay open between requests, as package managers like them."""

    protocol_version = "HTTP/1.1"
    # A client that keeps its connection for nothing does not keep a thread for ever.
    timeout = 60


def main() -> None:
    """Serve until told to end."""
    directory, address, port = sys.argv[1:]
    handler = functools.partial(Handler, directory=directory)
    http.server.ThreadingHTTPServer((address, int(port)), handler).serve_forever()


if __name__ == "__main__":
    main()
