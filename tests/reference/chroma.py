"""A real Chroma server as a child process."""

import sys
import urllib.request
from pathlib import Path

from reference.backends import Backend


class ChromaServer(Backend):
    """`chroma run`, on data of its own."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        program = Path(sys.executable).with_name("chroma")
        return [str(program), "run", "--path", str(self.directory / "data"), "--port", str(self.port)]

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/api/v2/heartbeat", timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False
