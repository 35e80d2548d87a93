"""Serves a GGUF file by llama.cpp's own server, of the wheel `xllamacpp`: FILE PORT THREADS CONTEXT."""

import signal
import sys

import xllamacpp


def main() -> None:
    """Serve until killed."""
    file, port, threads, context = sys.argv[1:]
    params = xllamacpp.CommonParams()
    params.model.path = file
    params.model_alias = {"model"}
    params.port = int(port)
    params.n_parallel = 1
    params.n_ctx = int(context)
    params.cpuparams.n_threads = int(threads)
    params.warmup = False
    params.ui = False
    params.use_jinja = True
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
