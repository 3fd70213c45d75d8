"""Machines that tell moving numbers as vLLM, the DCGM and the node exporter do, and others that tell them badly.

    python -m tests.contract_metrics --port 8796 --boxes 2      what can be looked at in a terminal

`/box-00/vllm`, `/box-00/dcgm` and `/box-00/node` are a machine's pages; the names of BAD are pages of the other kind.
"""

from __future__ import annotations

import argparse
import math
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.metrics.pages import SAMPLES, VllmPage, dcgm_page

BAD: Final = ("hang", "endless", "garbage", "nan", "bomb", "reset", "stale", "broken", "gone")
"""Hangs; never ends; no text; no numbers; too many labels; begins anew; answers now and then; breaks off; 404."""
CHUNK: Final = 1 << 16
MODEL: Final = "org/model"


class Box:
    """A machine with one vLLM server, its GPUs and its exporters; busier and less busy within a minute."""

    def __init__(self, number: int, models: tuple[str, ...] = (MODEL,), engines: int = 1) -> None:
        self._dice, self._phase = random.Random(number), number * 0.7  # noqa: S311 - the same numbers each time
        self._vllm, self._dcgm, self._node = (
            VllmPage(models, engines),
            dcgm_page(),
            (SAMPLES / "node.prom").read_bytes(),
        )
        self._lock = threading.Lock()
        self.asked = 0

    def load(self, now: float) -> float:
        """How busy it is, from 0 to 1."""
        return 0.5 + 0.45 * math.sin(now / 9.0 + self._phase)

    def vllm(self) -> bytes:
        """Some more requests were answered since the last look."""
        with self._lock:
            self.asked += 1
            self._vllm.work(self._dice, round(self.load(time.time()) * 6))
            return self._vllm.text()

    def dcgm(self) -> bytes:
        """Power, temperature and use go with the load."""
        load, page = self.load(time.time()), self._dcgm.decode()
        moving = {"GPU_UTIL": load * 100, "POWER_USAGE": 120 + 700 * load, "GPU_TEMP": 35 + 30 * load}
        moving |= {"FB_USED": 20_000 + 70_000 * load, "FB_FREE": 77_000 - 70_000 * load}
        for name, value in moving.items():
            page = re.sub(rf'^(DCGM_FI_DEV_{name}{{gpu="0".*}}) .*$', rf"\1 {value:.1f}", page, flags=re.M)
        return page.encode()

    def node(self) -> bytes:
        """As a real one told it, with another load."""
        page = self._node.decode()
        return re.sub(r"^node_load1 .*$", f"node_load1 {self.load(time.time()) * 60:.2f}", page, flags=re.M).encode()


class Machines:
    """A server of all the pages; `with` starts and ends it. `asked` counts the looks at each path."""

    def __init__(self, boxes: int = 1, *, port: int = 0, pem: Path | None = None, **box: object) -> None:
        self.boxes = [Box(number, **box) for number in range(boxes)]  # type: ignore[arg-type]
        self.asked: dict[str, int] = {}
        self.over = threading.Event()
        self._scheme = "https" if pem else "http"
        self._server = ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self._server.daemon_threads = True
        if pem is not None:
            tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            tls.load_cert_chain(pem)
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        """Where the paths begin."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def targets(self, *bad: str, interval_s: float = 1.0) -> str:
        """The lines of a settings file that name all pages of the boxes, and these bad ones."""
        pages = [
            (f"{kind}-{number:02}", kind) for number in range(len(self.boxes)) for kind in ("vllm", "dcgm", "node")
        ]
        named = [(name, kind, f"/box-{name[-2:]}/{kind}") for name, kind in pages]
        named += [(each, "vllm", f"/{each}") for each in bad]
        tables = [
            f'[[metrics.targets]]\nname = "{name}"\nkind = "{kind}"\nurl = "{self.url}{path}"\n'
            for name, kind, path in named
        ]
        return f"[metrics]\ninterval_s = {interval_s}\ntimeout_s = 2\n" + "".join(tables)

    def parts(self, path: str) -> Iterator[bytes] | None:
        """The page of a path, as it comes; None where there is none."""
        self.asked[path] = self.asked.get(path, 0) + 1
        if found := re.fullmatch(r"/box-(\d\d)/(vllm|dcgm|node)", path):
            box = self.boxes[int(found[1])]
            page: Callable[[], bytes] = getattr(box, found[2])
            return iter([page()])
        bad: Callable[[], Iterator[bytes]] | None = getattr(self, f"_{path[1:]}", None) if path[1:] in BAD else None
        return bad() if bad is not None else None

    def _hang(self) -> Iterator[bytes]:
        self.over.wait()
        yield b""

    def _endless(self) -> Iterator[bytes]:
        while not self.over.is_set():
            yield b'vllm:num_requests_running{model_name="m"} 1\n' * 1000

    def _garbage(self) -> Iterator[bytes]:
        yield random.Random(1).randbytes(CHUNK)  # noqa: S311 - the same each time

    def _nan(self) -> Iterator[bytes]:
        values = {"running": "NaN", "waiting": "-Inf", "swapped": "9223372036854775794"}
        yield "".join(
            f'vllm:num_requests_{name}{{model_name="m"}} {value}\n' for name, value in values.items()
        ).encode()

    def _bomb(self) -> Iterator[bytes]:
        seen = self.asked["/bomb"]
        for number in range(60):
            names = range(number * 1000, number * 1000 + 1000)
            yield "".join(f'vllm:num_requests_running{{model_name="m{seen}-{each}"}} 1\n' for each in names).encode()

    def _reset(self) -> Iterator[bytes]:
        """Its counters begin anew at every fifth look."""
        grown = (self.asked["/reset"] % 5) * 1000
        told = ("prompt_tokens", "generation_tokens", "request_success")
        yield "".join(f'vllm:{name}_total{{model_name="m",engine="0"}} {grown}\n' for name in told).encode()

    def _stale(self) -> Iterator[bytes]:
        """Answers the first two looks, and none after."""
        if self.asked["/stale"] > 2:
            self.over.wait()
        yield b'vllm:num_requests_running{model_name="m",engine="0"} 7\n'

    def _broken(self) -> Iterator[bytes]:
        yield b'vllm:num_requests_running{model_name="m"} 1\nvllm:num_requ'
        raise ConnectionResetError

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        machines = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = machines.parts(self.path)
                self.send_response(200 if parts else 404)
                self.send_header("content-type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                try:
                    for part in filter(None, parts or iter([b"no"])):
                        self.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
                    self.wfile.write(b"0\r\n\r\n")
                except OSError:  # whoever asked has had enough, or it is to break off
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                """Says nothing."""

        return Handler

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


def main() -> None:
    """Serves until it is ended, and prints the settings that look at it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8796)
    parser.add_argument("--boxes", type=int, default=1)
    parser.add_argument("--bad", nargs="*", default=[], choices=BAD)
    given = parser.parse_args()
    with Machines(given.boxes, port=given.port) as machines:
        print(machines.targets(*given.bad), flush=True)
        machines.over.wait()


if __name__ == "__main__":
    main()
