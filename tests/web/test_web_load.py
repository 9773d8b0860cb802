"""The local page under garbage from many sides at once: it stays up, and its limits hold."""

from __future__ import annotations

import socket
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import played
import pytest
from test_web_server import Page, until

from mien.io.video import write_video
from mien.web.intake import Limits
from mien.web.jobs import Jobs, Rules

WAITING = 4
SENT = 50


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    weights = played.chance_weights(tmp_path_factory.mktemp("web") / "w.safetensors")
    running = Page(Jobs(weights, Limits(mib=1, seconds=30), Rules(waiting=WAITING, idle=2, kept=60)))
    yield running
    running.close()


def raw(port: int, content: bytes) -> bytes:
    """Return the answer of a server to bytes that may not be HTTP; b"" if there is none."""
    with socket.create_connection(("127.0.0.1", port), timeout=600) as line:
        try:
            line.sendall(content)
            line.shutdown(socket.SHUT_WR)
            return line.recv(4096)
        except OSError:  # it may close the connection first
            return b""


def garbage(n: int, port: int) -> bytes:
    rng = np.random.default_rng(n)
    host = f"Host: 127.0.0.1:{port}\r\n".encode()
    kinds = (
        rng.bytes(int(rng.integers(1, 5000))),
        b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n" + host + b"\r\n",
        b"GET / HTTP/1.1\r\n" + host + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"POST /api/jobs HTTP/1.1\r\n" + host + b"Content-Type: application/json\r\nContent-Length: 6\r\n\r\n[[[[[[",
        b"POST /api/jobs HTTP/1.1\r\n" + host + b"Content-Length: 99999999999\r\n\r\n" + b"x" * 20_000,
        b"PUT /api/jobs/" + bytes(rng.integers(97, 123, 40).astype(np.uint8)) + b"/video HTTP/1.1\r\n" + host
        + b"Content-Length: 5\r\n\r\nhello",
        b"GET /reports/view?run=" + b"%00%2e%2e%2f" * 40 + b" HTTP/1.1\r\n" + host + b"\r\n",
        b"POST /api/jobs HTTP/1.1\r\n" + host + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"BREW / HTTP/1.1\r\n" + host + b"\r\n",
        b"",
    )  # fmt: skip
    return kinds[n % len(kinds)]


@pytest.mark.slow
def test_server_survives_fifty_damaged_uploads_and_garbage_requests(page: Page, tmp_path: Path) -> None:
    assert page.jobs is not None
    jobs = page.jobs
    path = write_video(tmp_path / "f.mkv", (np.full((48, 64), n, np.uint8) for n in range(30)), 100)
    film = bytearray(path.read_bytes())
    most, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            with jobs._lock:
                held = Counter(job.state for job in jobs._jobs.values())
            most[0] = max(most[0], held["sending"] + held["waiting"])

    def upload(n: int) -> int:
        rng = np.random.default_rng(n)
        damaged = bytearray(film)
        for at in rng.integers(0, len(film), 1 + n % 20):
            damaged[at] = int(rng.integers(256))
        status, reply = page.reserve(len(damaged), f"../{n}\0\u202e.mkv")
        if status != 201:
            assert "waiting already" in reply["error"]["found"]
            return status
        token = str(reply["token"])
        assert page.ask("PUT", f"/api/jobs/{token}/video", bytes(damaged))[0] == 202
        state = page.wait(token, "done", "failed")
        if state["state"] == "failed":
            assert all(state["error"].values())
            assert "unexpectedly" not in " ".join(state["error"].values())
        page.ask("DELETE", f"/api/jobs/{token}")
        return status

    watcher = threading.Thread(target=watch)
    watcher.start()
    with ThreadPoolExecutor(SENT) as pool:
        uploads = [pool.submit(upload, n) for n in range(SENT // 2)]
        others = [pool.submit(raw, page.port, garbage(n, page.port)) for n in range(SENT)]
        uploads += [pool.submit(upload, n) for n in range(SENT // 2, SENT)]
        statuses = Counter(each.result() for each in uploads)
        answers = [each.result() for each in others]
    done.set()
    watcher.join()
    assert statuses[201] >= WAITING
    assert set(statuses) <= {201, 429}
    assert most[0] <= WAITING
    codes = [answer.split(b" ")[1] for answer in answers if answer.startswith(b"HTTP/1.1 ")]
    assert codes
    assert not [code for code in codes if code.startswith((b"2", b"5"))]
    assert page.ask("GET", "/")[0] == 200
    until(lambda: not any(jobs.root.iterdir()))


def test_deeply_nested_json_is_refused(page: Page) -> None:
    kind = {"Content-Type": "application/json"}
    assert page.ask("POST", "/api/jobs", b"[" * 4000, kind)[0] == 400


def test_hundred_idle_connections_do_not_block_others(page: Page) -> None:
    lines = [socket.create_connection(("127.0.0.1", page.port), timeout=600) for _ in range(100)]
    try:
        for line in lines[::2]:
            line.sendall(b"POST /api/jobs HTTP/1.1\r\nHost: ")
        assert page.ask("GET", "/")[0] == 200
    finally:
        for line in lines:
            line.close()
    assert page.ask("GET", "/")[0] == 200
