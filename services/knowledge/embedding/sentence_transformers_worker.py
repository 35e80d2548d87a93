"""The process that runs a sentence-transformers model: `python -m ...sentence_transformers_worker MODEL NICE`."""

import base64
import os
import sys
from collections.abc import Mapping
from typing import Any

from quantum_suite.core.errors import ConfigurationError
from quantum_suite.services.knowledge.worker_loop import Answer, serve


def _start(model: str) -> Answer:
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    # Heavy; this process exists to be the one that imports it.
    from sentence_transformers import SentenceTransformer

    try:
        loaded = SentenceTransformer(model, device="cpu", local_files_only=True)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"The model {model} cannot be loaded: {str(error)[:300]}",
            "Give the folder of a model on this machine; nothing is downloaded.",
        ) from error

    def answer(request: Mapping[str, Any]) -> dict[str, Any]:
        encode = loaded.encode_query if request.get("query") else loaded.encode_document
        vectors = encode(request["texts"], batch_size=32, normalize_embeddings=True, show_progress_bar=False)
        return {"vectors": base64.b64encode(vectors.astype("<f4").tobytes()).decode("ascii")}

    return answer


if __name__ == "__main__":
    os.nice(int(sys.argv[2]))
    serve(lambda: _start(sys.argv[1]))
