"""A real endpoint for embeddings: llama.cpp's own server with a small language model, whose states are averaged.

Its vectors mean little; it speaks the protocol, refuses what is too long, and dies when killed.
`python embedding_server.py PORT`
"""

import signal
import sys
import urllib.request
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from reference.backends import Backend

DIMENSIONS = 576
"""Of the model's states."""
BATCH_TOKENS = 256
"""The longest text it takes."""


class EmbeddingServer(Backend):
    """The server as a child process."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [sys.executable, __file__, str(self.port)]

    def answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as reply:
                return bool(reply.status == 200)
        except OSError:
            return False


def main() -> None:
    """Serve until killed."""
    import xllamacpp
    from reference.model_server import model_file

    params = xllamacpp.CommonParams()
    params.model.path = str(model_file())
    params.port = int(sys.argv[1])
    params.embedding = True
    params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    params.n_parallel = 1
    params.n_ctx = params.n_batch = params.n_ubatch = BATCH_TOKENS
    params.cpuparams.n_threads = 1
    params.warmup = False
    params.ui = False
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
