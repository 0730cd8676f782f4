"""A server in a thread of this process, on a free port, for as long as a block lasts."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def listening(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Yield the address at which `handler` answers until the block ends."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as there:
        thread = threading.Thread(target=there.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{there.server_address[1]}"
        finally:
            there.shutdown()
            thread.join()
