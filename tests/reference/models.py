"""A real model server as a child process: killed, paused and started again like any other backend."""

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

from reference.backends import Backend

MODEL = "smollm2"


class ModelServer(Backend):
    """llama.cpp with a model of 135 million parameters: it speaks the protocols, and knows little."""

    def __init__(self, directory: Path, *, api_key: str = "", context: int = 1024, slots: int = 2) -> None:
        super().__init__(directory)
        self._options = ["--api-key", api_key, "--context", str(context), "--slots", str(slots)]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        script = Path(__file__).with_name("model_server.py")
        return [sys.executable, str(script), "--port", str(self.port), *self._options]

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False

    def busy_slots(self) -> int:
        """Return how many answers it is working on."""
        with urllib.request.urlopen(f"{self.url}/slots", timeout=10) as reply:
            return sum(bool(slot["is_processing"]) for slot in json.load(reply))


def provider(url: str, **options: Any) -> dict[str, Any]:
    """Return how such a server is configured."""
    return {"kind": "llama.cpp", "base_url": f"{url}/v1", "models": {MODEL: {}}, **options}


def configured(path: Path, providers: dict[str, Any], **more: Any) -> Path:
    """Write a providers.yaml (JSON is YAML) and return its path."""
    path.write_text(json.dumps({"providers": providers, **more}))
    return path
