"""The local page over HTTP, with a real server, real worker processes and real films."""

from __future__ import annotations

import asyncio
import http.client
import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import played
import pytest
import uvicorn
from typer.testing import CliRunner

from mien.cli.main import app as command
from mien.cli.serve import listen
from mien.errors import MienError
from mien.io.atomic import LOCK, lock_run, private_folder, sweep_left_behind
from mien.io.video import write_video
from mien.web.connections import patient_protocol
from mien.web.guard import POLICY, Guard
from mien.web.intake import Limits, open_upload, shown_name, spoken
from mien.web.jobs import PREFIX, Job, Jobs, Refused, Rules
from mien.web.reports import Shelf
from mien.web.server import build


class Page:
    """A running server, with a client without state."""

    def __init__(self, jobs: Jobs | None, runs: Path | None = None, **patience: Any) -> None:
        self.jobs = jobs
        if jobs is not None:
            jobs.start()
        ours = listen(0)
        self.port: int = ours.getsockname()[1]
        hosts = (f"127.0.0.1:{self.port}", f"localhost:{self.port}")
        http = patient_protocol(**patience)
        config = uvicorn.Config(build(jobs, hosts, runs), log_level="error", access_log=False, ws="none", http=http)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=lambda: self._server.run(sockets=[ours]), daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join(30)

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=600)
        line.request(method, path, body, headers or {})
        answer = line.getresponse()
        content = answer.read()
        line.close()
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, content

    def reserve(self, size: int, name: str = "film.mkv", **more: Any) -> tuple[int, dict[str, Any]]:
        body = json.dumps({"name": name, "size": size, **more}).encode()
        status, _, content = self.ask("POST", "/api/jobs", body, {"Content-Type": "application/json"})
        return status, json.loads(content)

    def send(self, film: bytes, name: str = "film.mkv", **more: Any) -> str:
        status, reply = self.reserve(len(film), name, **more)
        assert status == 201, reply
        status, _, content = self.ask("PUT", f"/api/jobs/{reply['token']}/video", film)
        assert status == 202, content
        return str(reply["token"])

    def status(self, token: str) -> dict[str, Any]:
        return dict(json.loads(self.ask("GET", f"/api/jobs/{token}")[2]))

    def wait(self, token: str, *states: str) -> dict[str, Any]:
        found: dict[str, Any] = until(lambda: (job := self.status(token))["state"] in states and job)
        return found


def until(found: Callable[[], Any], seconds: float = 600) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError("timed out")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("web")


@pytest.fixture(scope="module")
def weights(folder: Path) -> Path:
    return played.chance_weights(folder / "w.safetensors")


@pytest.fixture(scope="module")
def film(folder: Path) -> bytes:
    """A lossless video with one expression."""
    return write_video(folder / "f.mkv", played.film(41, 130, [(50, 68, 85, "positive")]), 100).read_bytes()


@pytest.fixture(scope="module")
def still(folder: Path) -> bytes:
    """A short video without faces, which is analysed quickly."""
    grey = np.full((64, 64), 128, np.uint8)
    return write_video(folder / "s.mkv", (grey for _ in range(60)), 100).read_bytes()


@pytest.fixture(scope="module")
def page(weights: Path) -> Iterator[Page]:
    running = Page(Jobs(weights, Limits(mib=4, seconds=30), Rules(waiting=3, idle=3)))
    yield running
    root = running.jobs.root if running.jobs else Path()
    assert root.is_dir()
    running.close()
    assert not root.exists()


def test_video_is_answered_and_then_deleted(page: Page, film: bytes) -> None:
    assert page.jobs is not None
    token = page.send(film, "../Über uns & mehr.mkv")
    job = page.wait(token, "done", "failed")
    assert job["error"] is None
    assert sorted(job["files"]) == ["csv", "eaf", "html", "json", "mp4"]
    _, headers, body = page.ask("GET", f"/api/jobs/{token}/answer")
    html = body.decode()
    assert headers["content-type"].startswith("text/html")
    assert "1 person, 1 interval" in html
    assert "style=" not in html
    assert "<script" not in html
    pictures = re.findall(r'src="([^"]+)"', html)
    assert len(pictures) in (6, 7)  # with saliency where Captum is there
    for address in pictures:
        assert address.startswith(f"/api/jobs/{token}/pictures/")
        status, headers, content = page.ask("GET", address)
        assert (status, headers["content-type"], content[8:12]) == (200, "image/webp", b"WEBP")
    links = re.findall(r'<a class="micro" href="#([^"]+)"', html)
    assert len(links) == 1
    assert f'id="{links[0]}"' in html

    def download(kind: str) -> bytes:
        status, headers, content = page.ask("GET", f"/api/jobs/{token}/files/{kind}")
        assert status == 200
        assert headers["content-disposition"] == f"attachment; filename*=UTF-8''%C3%9Cber%20uns%20%26%20mehr.{kind}"
        return content

    answer = json.loads(download("json"))
    assert answer["n_events"] == 1
    assert answer["weights"] == "w.safetensors"
    for kind in ("csv", "json", "eaf", "html"):
        assert str(page.jobs.root).encode() not in download(kind)
    assert b"lie detector" in download("html")
    assert b'MEDIA_URL="./' in download("eaf")
    with av.open(io.BytesIO(download("mp4")), "r") as container:
        assert len(list(container.decode(video=0))) == 130
    assert not list(page.jobs.root.rglob("video"))
    assert page.ask("DELETE", f"/api/jobs/{token}")[0] == 204
    assert page.ask("GET", f"/api/jobs/{token}")[0] == 404
    assert not any(page.jobs.root.iterdir())


def sound(path: Path) -> bytes:
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), layout="mono")
        frame.sample_rate = 8000
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    return path.read_bytes()


def half_a_day(path: Path) -> bytes:
    """Return a video of twelve hours with only a few frames."""
    return write_video(
        path, (np.full((64, 64), n * 20, np.uint8) for n in range(5)), 25, times=[0, 1, 2, 3, 12 * 3600.0]
    ).read_bytes()


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("text.mp4", lambda folder: b"this is no film\n" * 500, r"cannot be read|no video|not a video|nothing"),
        ("one.mp4", lambda folder: b"\0", r"."),
        ("sound.mka", lambda folder: sound(folder / "a.mka"), r"sound|no picture|no video"),
        ("long.mp4", lambda folder: half_a_day(folder / "long.mkv"), r"lasts 12 h"),
        ("#!m3u8.m3u8", lambda folder: b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", r"."),
    ],
)
def test_invalid_file_gives_an_error_in_three_parts(
    page: Page, folder: Path, name: str, content: Callable[[Path], bytes], found: str
) -> None:
    assert page.jobs is not None
    token = page.send(content(folder), name)
    job = page.wait(token, "failed", "done")
    assert job["state"] == "failed"
    assert re.search(found, job["error"]["found"]), job["error"]
    message = " ".join(job["error"].values())
    assert str(page.jobs.root) not in message
    assert "unexpectedly" not in message
    assert all(job["error"].values())
    assert not any(page.jobs.root.iterdir())  # no files are left
    page.ask("DELETE", f"/api/jobs/{token}")


def test_truncated_video_is_answered_up_to_its_end(page: Page, folder: Path, film: bytes) -> None:
    token = page.send(film[: int(0.3 * len(film))])
    assert page.wait(token, "failed", "done")["state"] == "done"
    html = page.ask("GET", f"/api/jobs/{token}/answer")[2].decode()
    frames = int(re.search(r"(\d+) frames", html)[1])  # type: ignore[index]
    assert 10 < frames < 100
    page.ask("DELETE", f"/api/jobs/{token}")


def test_video_without_faces_is_reported(page: Page, still: bytes) -> None:
    token = page.send(still)
    page.wait(token, "done")
    assert b"No face was found" in page.ask("GET", f"/api/jobs/{token}/answer")[2]
    page.ask("DELETE", f"/api/jobs/{token}")


def test_uploads_larger_or_smaller_than_announced_are_refused(page: Page) -> None:
    assert page.jobs is not None
    status, reply = page.reserve(5 << 20)
    assert status == 413
    assert reply["error"]["expected"] == "at most 4 MiB."
    assert page.reserve(0)[0] == 400
    # More bytes than announced, then fewer.
    for announced, sent, expected in ((1000, 5000, 413), (5000, 1000, 400)):
        _, reply = page.reserve(announced)
        status, _, content = page.ask("PUT", f"/api/jobs/{reply['token']}/video", b"x" * sent)
        assert status == expected, content
        assert page.ask("GET", f"/api/jobs/{reply['token']}")[0] == 404
    for wrong in ({"fps": -1}, {"fps": "x"}, {"fps": True}, {"name": 3}):
        assert page.reserve(10, **wrong)[0] == 400
    assert not any(page.jobs.root.iterdir())


def test_aborted_uploads_leave_no_files(page: Page) -> None:
    assert page.jobs is not None
    for leave in (True, False):
        _, reply = page.reserve(3 << 20)
        line = socket.create_connection(("127.0.0.1", page.port))
        head = f"PUT /api/jobs/{reply['token']}/video HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\n"
        line.sendall(f"{head}Content-Length: {3 << 20}\r\n\r\n".encode() + b"x" * (2 << 20))
        root = page.jobs.root
        until(lambda root=root: any(root.rglob("video")))  # type: ignore[misc]
        if leave:
            line.close()
        until(lambda root=root: not any(root.iterdir()))  # type: ignore[misc]
        line.close()


def test_requests_from_other_hosts_and_pages_are_refused(page: Page) -> None:
    port = page.port
    for host in ("evil.example", f"evil.example:{port}", "127.0.0.1", f"127.0.0.1:{port + 1}", "", f"[::1]:{port}"):
        assert page.ask("GET", "/", headers={"Host": host})[0] == 421, host
    assert page.ask("GET", "/", headers={"Host": f"LOCALHOST:{port}"})[0] == 200
    body = json.dumps({"name": "a", "size": 10}).encode()
    kind = {"Content-Type": "application/json"}
    for origin in ("http://evil.example", "null", f"https://127.0.0.1:{port}", f"http://localhost:{port}"):
        assert page.ask("POST", "/api/jobs", body, {**kind, "Origin": origin})[0] == 403, origin
    for site in ("cross-site", "same-site"):
        assert page.ask("POST", "/api/jobs", body, {**kind, "Sec-Fetch-Site": site})[0] == 403
        assert page.ask("GET", "/api/jobs/x", headers={"Sec-Fetch-Site": site})[0] == 403
        assert page.ask("GET", "/", headers={"Sec-Fetch-Site": site})[0] == 200  # a link may lead here
    # A form of another page cannot send this kind.
    assert page.ask("POST", "/api/jobs", body, {"Content-Type": "text/plain"})[0] == 415
    assert page.ask("POST", "/api/jobs", b"{" * 9000, kind)[0] == 413
    assert page.ask("POST", "/api/jobs", b"{", kind)[0] == 400


def test_every_response_has_the_security_headers(page: Page) -> None:
    for path in ("/", "/static/serve.js", "/api/jobs/none", "/nowhere", "/reports"):
        _, headers, _ = page.ask("GET", path)
        assert headers["content-security-policy"] == POLICY
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert "access-control-allow-origin" not in headers
    text = page.ask("GET", "/")[2].decode()
    assert "lie detector" in text
    assert "has not been measured" in text
    # What the weights are is shown with an answer only.
    assert text.index('id="says-answer" hidden') < text.index("has not been measured")
    for name in ("serve.js", "serve.css", "answer.css", "icon.svg"):
        status, _, content = page.ask("GET", f"/static/{name}")
        assert status == 200
        addresses = re.findall(rb"https?://[^\s\"')]+", content)
        assert set(addresses) <= {b"http://www.w3.org/2000/svg"}
    assert not re.findall(r"https?://", text)
    assert "style=" not in text
    assert not re.search(r"<script(?![^>]*\ssrc=)", text)


def test_token_opens_only_its_own_job_and_never_a_path(page: Page, still: bytes) -> None:
    first, second = page.send(still, "a.mkv"), page.send(still, "b.mkv")
    page.wait(first, "done")
    page.wait(second, "done")
    assert first != second
    assert len(first) >= 32
    assert page.status(first)["name"] == "a.mkv"
    for path in (
        f"/api/jobs/{first[:-1]}", "/api/jobs/", "/api/jobs/..%2f..", f"/api/jobs/{first}/files/video",
        f"/api/jobs/{first}/files/..%2fvideo", f"/api/jobs/{first}/pictures/answer.html",
        f"/api/jobs/{first}/pictures/..%2f..%2f..%2fetc%2fpasswd", "/static/..%2fserver.py", "/static/../server.py",
    ):  # fmt: skip
        assert page.ask("GET", path)[0] == 404, path
    assert page.ask("PUT", f"/api/jobs/{first}/video", still)[0] == 409
    for token in (first, second):
        page.ask("DELETE", f"/api/jobs/{token}")


def test_fifty_parallel_uploads_are_accepted_or_refused_and_never_mixed(page: Page, folder: Path) -> None:
    assert page.jobs is not None
    films = {}
    for n in range(4):
        grey = np.full((48 + 16 * n, 64), 128, np.uint8)
        path = write_video(folder / f"n{n}.mkv", (grey for _ in range(40)), 100)
        films[n] = path.read_bytes()

    def one(n: int) -> tuple[int, str]:
        status, reply = page.reserve(len(films[n % 4]), f"film{n}.mkv")
        if status != 201:
            assert "waiting already" in reply["error"]["found"]
            return status, ""
        token = str(reply["token"])
        assert page.ask("PUT", f"/api/jobs/{token}/video", films[n % 4])[0] == 202
        assert page.wait(token, "done", "failed")["state"] == "done"
        html = page.ask("GET", f"/api/jobs/{token}/answer")[2].decode()
        assert f"64\u00d7{48 + 16 * (n % 4)}, 40 frames" in html
        assert page.status(token)["name"] == f"film{n}.mkv"
        assert page.ask("DELETE", f"/api/jobs/{token}")[0] == 204
        return status, token

    with ThreadPoolExecutor(50) as pool:
        results = list(pool.map(one, range(50)))
    taken = [token for status, token in results if status == 201]
    assert {status for status, _ in results} == {201, 429}
    assert 3 <= len(taken) == len(set(taken))
    assert page.ask("GET", "/")[0] == 200
    until(lambda: not any(page.jobs.root.iterdir()) if page.jobs else True)


def test_crash_of_the_worker_process_loses_one_answer_only(page: Page, film: bytes, still: bytes) -> None:
    assert page.jobs is not None
    import multiprocessing

    token = page.send(film)
    page.wait(token, "answering")
    own = [c for c in multiprocessing.active_children() if c.name == f"answers-{page.jobs.root.parent.name}"]
    assert own
    for child in own:
        child.kill()
    job = page.wait(token, "failed")
    assert "ended unexpectedly" in job["error"]["found"]
    after = page.send(still)
    assert page.wait(after, "done", "failed")["state"] == "done"
    # Deleted during the analysis: the work stops, no files are left, the next job is answered.
    token = page.send(film)
    page.wait(token, "answering")
    assert page.ask("DELETE", f"/api/jobs/{token}")[0] == 204
    page.ask("DELETE", f"/api/jobs/{after}")
    after = page.send(still)
    page.wait(after, "done")
    page.ask("DELETE", f"/api/jobs/{after}")
    assert not any(page.jobs.root.iterdir())


# Parts


def test_file_names_are_made_safe_to_display() -> None:
    assert shown_name("../../etc/passwd") == "passwd"
    assert shown_name("C:\\Users\\a\\my film.mp4") == "my film.mp4"
    assert shown_name("a\0b\r\nc\u202ed.mp4") == "abcd.mp4"
    assert shown_name("...") == shown_name("") == shown_name("/") == "video"
    assert shown_name("x" * 300 + ".mp4") == "x" * 116 + ".mp4"
    assert len(shown_name("y" * 300)) == 120
    assert shown_name("Grüße 語.mov") == "Grüße 語.mov"


def test_too_long_videos_are_refused_before_decoding(folder: Path) -> None:
    path = folder / "t.mkv"
    write_video(path, (np.zeros((32, 32), np.uint8) for _ in range(100)), 50)
    assert open_upload(path, Limits(seconds=2.1)).n_frames == 100
    with pytest.raises(MienError, match="lasts 2 s"):
        open_upload(path, Limits(seconds=1.9))
    # In slow motion a second fills two seconds of video; a given frame rate does not lift the limit on frames.
    assert open_upload(path, Limits(seconds=1.1), fps=100).fps == 100
    with pytest.raises(MienError, match="100 frames"):
        open_upload(path, Limits(seconds=0.3), fps=100000)
    assert [spoken(s) for s in (1.5, 90, 600, 43200, 5400)] == ["1.5 s", "90 s", "10 min", "12 h", "1 h 30 min"]


def idle_jobs(tmp_path: Path, **rules: Any) -> Jobs:
    jobs = Jobs(None, Limits(), Rules(**rules))
    jobs.root = tmp_path
    return jobs


def test_oldest_answers_are_deleted_first(tmp_path: Path) -> None:
    jobs = idle_jobs(tmp_path, kept=2)

    def finished(name: str) -> Job:
        job = jobs.reserve(name, 10)
        job.state = "done"
        return job

    made = [finished(str(n)) for n in range(2)]
    jobs.get(made[0].token)  # the first answer is still being read
    made.append(finished("2"))
    jobs.reserve("next", 10)
    assert [jobs.get(job.token) is not None for job in made] == [True, False, True]
    assert made[0].folder.is_dir()
    assert not made[1].folder.exists()


@pytest.mark.parametrize("what", ["answer", "pictures/a.webp", "files/csv"])
def test_files_deleted_while_they_are_asked_for_are_not_found(tmp_path: Path, what: str) -> None:
    jobs = idle_jobs(tmp_path)
    job = jobs.reserve("film", 10)
    job.state, job.pictures, job.files = "done", frozenset({"a.webp"}), ("csv",)
    shutil.rmtree(job.folder, ignore_errors=True)
    path = f"/api/jobs/{job.token}/{what}"
    assert any(
        route.matches({"type": "http", "path": path, "method": "GET"})[0].value == 2
        for route in build(jobs, ("h",)).routes
    )
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": path, "query_string": b"", "headers": [(b"host", b"h")]}
    asyncio.run(build(jobs, ("h",))(scope, receive, send))
    assert sent[0]["status"] == 404


def test_full_disk_refuses_uploads(tmp_path: Path) -> None:
    jobs = idle_jobs(tmp_path)
    jobs.limits = Limits(mib=2**40)
    with pytest.raises(Refused) as caught:
        jobs.reserve("a", 2**58)
    assert caught.value.status == 507


@pytest.mark.skipif(os.name != "posix", reason="processes are asked for by a signal")
def test_files_of_killed_servers_are_deleted(tmp_path: Path) -> None:
    gone, ours, other = (tmp_path / f"{PREFIX}{n}-x" for n in (2**22 + 1, os.getpid(), "name"))
    for place in (gone, ours, other):
        place.mkdir()
        (place / "video").write_bytes(b"x")
    sweep_left_behind(PREFIX, tmp_path)
    assert [place.exists() for place in (gone, ours, other)] == [False, True, True]


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
def test_a_folder_belongs_to_the_process_that_has_locked_it(tmp_path: Path) -> None:
    """In a container the next server has the number of the one that was killed."""
    left = tmp_path / f"{PREFIX}{os.getpid()}-left"
    left.mkdir()
    (left / LOCK).write_text("process of the same number")
    (left / "video").write_bytes(b"x")
    with private_folder(PREFIX, tmp_path) as folder:
        assert not left.exists()
        (folder / "video").write_bytes(b"x")
        sweep_left_behind(PREFIX, tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == [folder.name]
        assert (folder / "video").exists()
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_server_that_is_killed_leaves_no_video(tmp_path: Path, weights: Path, still: bytes) -> None:
    words = ["serve", "--port", "0", "--json", "--weights", str(weights)]
    server = subprocess.Popen(
        [sys.executable, "-c", "from mien.cli.main import main; main()", *words], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )  # fmt: skip
    assert server.stdout is not None
    port = int(json.loads(server.stdout.readline())["address"].rstrip("/").rpartition(":")[2])
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    line.request(
        "POST", "/api/jobs", json.dumps({"name": "s", "size": len(still)}), {"Content-Type": "application/json"}
    )
    token = json.loads(line.getresponse().read())["token"]
    line.putrequest("PUT", f"/api/jobs/{token}/video")
    line.putheader("Content-Length", str(len(still)))
    line.endheaders()
    line.send(still[:1000])
    until(lambda: list(tmp_path.glob("mien-serve-*/jobs/*/video")))
    server.kill()
    server.wait()
    line.close()
    until(lambda: not list(tmp_path.iterdir()), 120)


def test_numbers_of_four_hundred_digits_are_refused(page: Page) -> None:
    for more in ({"size": 10**400}, {"size": 5, "fps": 10**400}, {"size": 5, "fps": -(10**400)}):
        body = json.dumps({"name": "a", **more}).encode()
        status, _, content = page.ask("POST", "/api/jobs", body, {"Content-Type": "application/json"})
        assert status == (400 if "fps" in more else 413)
        assert len(json.loads(content)["error"]["found"]) < 100
    assert page.ask("PUT", "/api/jobs/none/video", b"", {"Content-Length": "9" * 400})[0] in (400, 404)


def test_a_slow_upload_that_lives_is_accepted(page: Page, film: bytes) -> None:
    """It takes longer than the server waits for one that is silent, and is smaller than a block on disk."""
    assert page.jobs is not None
    sent = film[:40_000]
    assert len(sent) == 40_000
    _, reply = page.reserve(len(sent))
    line = http.client.HTTPConnection("127.0.0.1", page.port, timeout=600)
    line.putrequest("PUT", f"/api/jobs/{reply['token']}/video")
    line.putheader("Content-Length", str(len(sent)))
    line.endheaders()
    for begin in range(0, 40_000, 4_000):
        line.send(sent[begin : begin + 4_000])
        time.sleep(page.jobs.rules.idle / 6)
    assert line.getresponse().status == 202
    line.close()


def test_a_byte_now_and_then_does_not_hold_a_place(page: Page) -> None:
    _, reply = page.reserve(1000)
    with socket.create_connection(("127.0.0.1", page.port), timeout=60) as line:
        head = f"PUT /api/jobs/{reply['token']}/video HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\n"
        head += "Content-Length: 1000\r\n\r\n"
        line.sendall(head.encode())
        with suppress(OSError):
            for _ in range(8):
                line.sendall(b"x")
                time.sleep(0.7)
        assert page.ask("GET", f"/api/jobs/{reply['token']}")[0] == 404


def test_a_small_request_that_never_ends_is_given_up(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.web.server._ASKED_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", page.port), timeout=60) as line:
        head = f"POST /api/jobs HTTP/1.1\r\nHost: 127.0.0.1:{page.port}\r\nContent-Length: 50\r\n\r\n"
        line.sendall(head.encode() + b"{")
        assert line.recv(100).startswith(b"HTTP/1.1 408")


def test_half_open_connections_starve_nobody() -> None:
    page = Page(None, seconds=1.0, waiting=20)
    lines = [socket.create_connection(("127.0.0.1", page.port), timeout=60) for _ in range(280)]
    try:
        for line in lines:
            with suppress(OSError):  # closed already: only the last twenty may wait
                line.sendall(b"GET / HTTP/1.1\r\nHost: ")
        for _ in range(5):
            assert page.ask("GET", "/")[0] == 200
        for line in lines:
            with suppress(ConnectionResetError):
                assert line.recv(10) == b""
    finally:
        for line in lines:
            line.close()
        page.close()


def test_a_used_connection_is_given_up_too(page: Page) -> None:
    patient = Page(None, seconds=0.5)
    request = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{patient.port}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", patient.port), timeout=60) as line:
        line.sendall(request + request[:10])
        content = b""
        with suppress(ConnectionResetError):
            while part := line.recv(1 << 16):
                content += part
    assert content.count(b"HTTP/1.1 200") == 1
    patient.close()


@pytest.mark.parametrize("stalled", [60.0, 0.2])
def test_a_client_that_reads_slowly_gets_the_whole_answer_and_one_that_does_not_is_given_up(stalled: float) -> None:
    size = 32 << 20  # more than the buffers of both sockets hold

    async def large(scope: Any, receive: Any, send: Any) -> None:
        headers = [(b"content-length", str(size).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": bytes(size)})

    settings = uvicorn.Config(
        large, http=patient_protocol(seconds=0.2, stalled=stalled), log_level="error", lifespan="off"
    )
    server = uvicorn.Server(settings)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        with socket.create_connection(listening.getsockname(), timeout=60) as line:
            line.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            time.sleep(1)
            content = 0
            with suppress(ConnectionResetError):
                while part := line.recv(1 << 20):
                    content += len(part)
        server.should_exit = True
        thread.join(60)
    assert (content > size) == (stalled > 1)


def test_error_pages_have_the_headers_of_all_others(page: Page) -> None:
    """Also where the server itself fails, and where what was sent is no HTTP."""

    async def fails(scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("planted")

    async def nothing() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    sent: list[dict[str, Any]] = []

    async def keep(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"a:1")], "query_string": b""}
    with pytest.raises(RuntimeError, match="planted"):
        asyncio.run(Guard(fails, ["a:1"])(scope, nothing, keep))  # type: ignore[arg-type]
    assert sent[0]["status"] == 500
    assert dict(sent[0]["headers"])[b"content-security-policy"] == POLICY.encode()
    with socket.create_connection(("127.0.0.1", page.port), timeout=60) as line:
        line.sendall(b"\0 garbage\r\n\r\n")
        answer = line.recv(4096).decode()
    assert answer.startswith("HTTP/1.1 400")
    assert f"content-security-policy: {POLICY}" in answer
    for method, path, headers in (("GET", "/", {"Host": "evil"}), ("POST", "/", {}), ("PUT", "/static/serve.js", {})):
        status, got, _ = page.ask(method, path, None, headers)
        assert status in (405, 421)
        assert got["content-security-policy"] == POLICY


def test_runs_are_listed_and_compared(tmp_path: Path) -> None:
    from mien.datasets import open_specs
    from mien.evaluation.run import benchmark
    from mien.synthesis.writer import write_corpus

    write_corpus("casme2", tmp_path / "corpus", subjects=3, clips_per_subject=3, seed=1)
    data = open_specs([f"casme2={tmp_path / 'corpus'}"])
    runs = tmp_path / "runs"
    for name in ("one", "deep/two <x>"):
        benchmark(data, "flow-svm", runs / name, labels="megc2019", jobs=1)
    shutil.copytree(runs / "one", runs / "begun")
    shutil.rmtree(runs / "begun" / "ledger")
    (runs / "bad").mkdir()
    (runs / "bad" / "run.json").write_text("{")
    (tmp_path / "run.json").write_text("{}")  # outside the folder of runs
    page = Page(None, runs)
    try:
        text = page.ask("GET", "/reports")[2].decode()
        read = [row.name for row in Shelf(runs).rows(0) if row.kind != "unread"]
        assert read == ["bad"]  # one at a time
        assert "one" in text
        assert "deep/two &lt;x&gt;" in text
        assert "synthetic faces" in text
        assert re.search(r"<h2[^>]*>Damaged</h2>", text)
        assert "Stopped before the first score" in text
        assert "Running" not in text
        with lock_run(runs / "begun"):
            text = page.ask("GET", "/reports")[2].decode()
            assert "Running, no score yet" in text
            assert "Stopped before" not in text
        first = json.loads((runs / "one" / "run.json").read_text())["system"]
        assert f"<td>{first}</td>" in text
        status, headers, report = page.ask("GET", "/reports/view?run=one&run=deep%2Ftwo%20%3Cx%3E")
        assert status == 200
        assert b"2 runs side by side" in report
        assert "script-src" not in headers["content-security-policy"]
        assert headers["content-security-policy"].startswith("default-src 'none'")
        for query in ("", "?run=..", "?run=../corpus", f"?run={tmp_path}", "?run=bad", "?run=%00"):
            status, _, body = page.ask("GET", f"/reports/view{query}")
            assert status == 404, query
            assert b"Expected" in body
        assert b"No weights yet" in page.ask("GET", "/")[2]
        assert page.ask("POST", "/api/jobs", b"{}")[0] == 404
    finally:
        page.close()


def test_serve_refuses_taken_ports_and_missing_files(tmp_path: Path) -> None:
    taken = listen(0)
    try:
        for words, found in (
            (["--port", str(taken.getsockname()[1])], "cannot be used"),
            (["--runs", str(tmp_path / "none")], "There is no folder"),
            (["--weights", str(tmp_path / "none"), "--port", "0"], "There is no file"),
        ):
            result = CliRunner().invoke(command, ["serve", *words])
            assert isinstance(result.exception, MienError)
            assert found in result.exception.found
    finally:
        taken.close()


def test_server_listens_on_this_machine_only() -> None:
    ours = listen(0)
    assert ours.getsockname()[0] == "127.0.0.1"
    ours.close()
