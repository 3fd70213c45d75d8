"""The process that holds the embedded model: llama.cpp's own server on a private loopback port.

It is run by file path and imports nothing of ours, so neither the working directory nor our package is in its way. Its
whole configuration, the API key included, is one JSON line on stdin: arguments and environment can be read by others.
It answers with one JSON line on stdout, `{"port": 12345}` or `{"error": "…"}`, and then lives until stdin ends, which
is when its parent stops it or is gone, for whatever reason.
"""

import ctypes
import importlib
import json
import os
import signal
import sys
import threading
from typing import Any

PR_SET_PDEATHSIG = 1
PROMPT_CACHE_MIB = 256
REQUEST_THREADS = 4


def main() -> None:
    """Serve until stdin ends."""
    line = sys.stdin.buffer.readline()
    if not line.endswith(b"\n"):
        os._exit(0)
    config: dict[str, Any] = json.loads(line)
    _die_with(config["parent"])
    answers = _claim_stdout()
    os.nice(config["nice"])
    threading.Thread(target=_exit_at_end_of_stdin, daemon=True).start()
    try:
        server = _serve(config)
    except Exception as error:
        _answer(answers, {"error": f"{type(error).__name__}: {error}"})
        sys.exit(1)  # in the ordinary way, for the engine writes its complaints from a thread that this waits for
    _answer(answers, {"port": int(server.listening_address.rsplit(":", 1)[1])})
    threading.Event().wait()


def _die_with(parent: int) -> None:
    """Have the kernel end this process with its parent where it can: loading holds the GIL, and nothing reads stdin."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(0)


def _claim_stdout() -> int:
    """A private descriptor for the answer; whatever else prints to stdout goes to stderr instead."""
    answers = os.dup(1)
    os.dup2(2, 1)
    return answers


def _exit_at_end_of_stdin() -> None:
    while os.read(0, 4096):
        pass
    os._exit(0)


def _answer(descriptor: int, message: dict[str, object]) -> None:
    os.write(descriptor, json.dumps(message).encode() + b"\n")


def _serve(config: dict[str, Any]) -> Any:
    os.environ["OMP_WAIT_POLICY"] = "passive"  # spinning OpenMP threads starve each other on a busy machine
    xllamacpp = importlib.import_module("xllamacpp")
    params = xllamacpp.CommonParams()
    params.model.path = config["model"]
    params.model_alias = {config["alias"]}
    params.n_ctx = config["context"]
    params.cpuparams.n_threads = config["threads"]
    params.cpuparams_batch.n_threads = config["prompt_threads"]
    params.n_gpu_layers = 0
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [config["key"]]
    params.n_threads_http = REQUEST_THREADS
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.endpoint_metrics = True
    params.offline = True
    params.ui = False
    params.verbosity = 1
    return xllamacpp.Server(params)


if __name__ == "__main__":
    main()
