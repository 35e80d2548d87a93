"""Any model of sentence-transformers that lies on this machine."""

from quantum_suite.services.knowledge.embedding.worker_embedder import WorkerEmbedder

ENGINE = "sentence-transformers"


class SentenceTransformersEmbedder(WorkerEmbedder):
    """Runs a model on PyTorch, in processes of its own.

    `model` is a folder, or a name the library has in its cache: nothing is downloaded. `dimensions` is checked
    against what the model gives. The library's own prompts for queries and documents are used where a model has
    them.
    """

    def __init__(self, model: str, *, dimensions: int) -> None:
        super().__init__(
            "quantum_suite.services.knowledge.embedding.sentence_transformers_worker",
            [model],
            engine=ENGINE,
            model=f"{ENGINE}/{model}",
            dimensions=dimensions,
            packages=("sentence_transformers",),
            extra="sentence-transformers",
        )
