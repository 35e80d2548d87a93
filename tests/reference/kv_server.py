"""A small server that speaks the KV version 2 API of Vault and OpenBao, as far as one secret needs it.

Vault itself comes from no package. Paths, status codes and error texts follow its API documentation and answers:
https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hvs.a-token"


class KvServer(ThreadingHTTPServer):
    """Keeps every version of every secret of the engine mounted at `secret/`."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.secrets: dict[str, list[dict[str, Any]]] = {}
        self.tokens = {TOKEN}
        self.sealed = False
        self.lock = threading.Lock()
        self.namespaces: list[str | None] = []

    @property
    def host(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: KvServer

    def do_GET(self) -> None:
        path = self._admitted()
        if path is None:
            return
        with self.server.lock:
            versions = self.server.secrets.get(path, [])
        if not versions:
            self._answer(404, {"errors": []})
            return
        newest = versions[-1]
        metadata = {"version": len(versions), "destroyed": False, "deletion_time": ""}
        if newest is None:
            self._answer(404, {"data": {"data": None, "metadata": metadata}})
        else:
            self._answer(200, {"data": {"data": newest, "metadata": metadata}})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self._admitted()
        if path is None:
            return
        with self.server.lock:
            versions = self.server.secrets.setdefault(path, [])
            expected = body.get("options", {}).get("cas")
            if expected is not None and expected != len(versions):
                error = "check-and-set parameter did not match the current version"
                self._answer(400, {"errors": [error]})
                return
            versions.append(body["data"])
            self._answer(200, {"data": {"version": len(versions), "destroyed": False}})

    def log_message(self, *arguments: object) -> None:
        pass

    def _admitted(self) -> str | None:
        self.server.namespaces.append(self.headers.get("X-Vault-Namespace"))
        if self.server.sealed:
            self._answer(503, {"errors": ["Vault is sealed"]})
        elif self.headers.get("X-Vault-Token") not in self.server.tokens:
            self._answer(403, {"errors": ["1 error occurred:\n\t* permission denied\n\n"]})
        elif not self.path.startswith("/v1/secret/data/"):
            self._answer(404, {"errors": ["no handler for route"]})
        else:
            return self.path.removeprefix("/v1/secret/data/")
        return None

    def _answer(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def kv_server() -> Iterator[KvServer]:
    """Serve on a free loopback port, in threads, until the block ends."""
    with KvServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
