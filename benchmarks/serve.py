"""The local page: how soon it is there, how fast a film is sent, what it costs beside `mien recognise`.

Usage: python benchmarks/serve.py [--weights F] [--out benchmarks/results/serve.md]
"""

from __future__ import annotations

import datetime
import http.client
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from machine import commit, machine
from measure import arguments, publish
from numpy.typing import NDArray

from mien.face.portrait import portrait
from mien.io.video import write_video

MIB = 2**20


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--mib", type=int, default=256)
    options = parser.parse_args()
    named = ["--weights", str(options.weights)] if options.weights else []
    with tempfile.TemporaryDirectory() as folder:
        text = measure(Path(folder), named, options.mib)
    publish([text], options.out)


def imports(what: str) -> float:
    """Seconds that a fresh interpreter takes to import something, the best of three."""
    code = f"import time; t = time.perf_counter(); import {what}; print(time.perf_counter() - t)"
    return min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3))


def film() -> Iterator[NDArray[np.uint8]]:
    face = portrait()
    rng = np.random.default_rng(0)
    for _ in range(300):
        noise = rng.normal(0, 1.5, face.shape)
        yield np.clip(face + noise, 0, 255).astype(np.uint8)


def asked(port: int, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    line.request(method, path, body, {"Content-Type": "application/json"})
    answer = line.getresponse()
    content = answer.read()
    line.close()
    return answer.status, content


def reserve(port: int, size: int) -> str:
    body = json.dumps({"name": "film.mp4", "size": size}).encode()
    return str(json.loads(asked(port, "POST", "/api/jobs", body)[1])["token"])


def measure(folder: Path, named: list[str], mib: int) -> str:
    path = write_video(folder / "film.mp4", film(), 100)
    own = imports("mien.web.server, uvicorn")
    began = time.perf_counter()
    line = [sys.executable, "-c", "from mien.cli.main import main; main()", "serve"]
    with subprocess.Popen(
        [*line, *named, "--port", "0", "--json", "--max-mib", str(mib)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        port = int(json.loads(server.stdout.readline())["address"].rsplit(":", 1)[1].strip("/"))
        assert asked(port, "GET", "/")[0] == 200
        there = time.perf_counter() - began

        large = bytes(mib * MIB)
        token = reserve(port, len(large))
        began = time.perf_counter()
        status, _ = asked(port, "PUT", f"/api/jobs/{token}/video", large)
        assert status == 202
        sent = mib / (time.perf_counter() - began)
        asked(port, "DELETE", f"/api/jobs/{token}")

        content = path.read_bytes()
        times = {}
        for turn in ("first", "second"):
            began = time.perf_counter()
            token = reserve(port, len(content))
            asked(port, "PUT", f"/api/jobs/{token}/video", content)
            shown = 0.0
            while True:
                state = json.loads(asked(port, "GET", f"/api/jobs/{token}")[1])["state"]
                now = time.perf_counter() - began
                if state in ("answered", "done") and not shown:
                    shown = now
                if state in ("done", "failed"):
                    break
                time.sleep(0.02)
            assert state == "done"
            times[turn] = shown, now
        server.terminate()
    files = [w for kind in ("csv", "eaf", "mp4", "html") for w in (f"--{kind}", str(folder / f"a.{kind}"))]
    began = time.perf_counter()
    subprocess.run([*line[:-1], "recognise", str(path), *named, *files], stdout=subprocess.DEVNULL, check=True)
    typed = time.perf_counter() - began
    rows = [
        ("importing the server (Starlette, uvicorn, its own code)", f"{own:.2f} s"),
        ("from `mien serve` to the page answered, weights open", f"{there:.1f} s"),
        (f"sending {mib} MiB to a file on disk", f"{sent:.0f} MiB/s"),
        ("3 s of film at 100 per second: answer to be read", f"{times['second'][0]:.1f} s"),
        ("the same with all five files", f"{times['second'][1]:.1f} s"),
        ("the first time in a server's life", f"{times['first'][1]:.1f} s"),
        ("`mien recognise` with four files, from start to end", f"{typed:.1f} s"),
    ]
    table = "\n".join(f"| {what} | {value} |" for what, value in rows)
    return (
        f"# The local page\n\n`python benchmarks/serve.py`, {datetime.date.today()}, commit {commit()}, "
        f"{machine()}. A still face, 320x320; first and second answer of one server.\n\n"
        f"| what | measured |\n|---|---|\n{table}\n"
    )


if __name__ == "__main__":
    main()
