"""Random command lines, kills, hostile requests and uploads: nothing is lost, nothing ends in a traceback.

    python tools/attack.py lines --count 100
    python tools/attack.py kills --count 30
    python tools/attack.py requests --count 100
    python tools/attack.py uploads --count 50
    python tools/attack.py page

Each run goes on where the last one stopped: the number of a trial is its seed, and `tools/results/attack.jsonl` adds up
all runs. `page` writes the totals to docs/notebook/attacks.md. What counts as a fault: a traceback, an exit status that
is none of 0, 1, 2, an error without its three parts, a file that was there and is gone or changed, a response of 5xx, a
server that no longer answers.
"""

from __future__ import annotations

import argparse
import filecmp
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from attack_commands import KILLED, ONCE, WRITING

import mien.evaluation.run
import mien.evaluation.train
import mien.export
from mien.cli.commands import GROUPS, load_command
from mien.cli.main import main
from mien.evaluation.ledger import read_ledger
from mien.io.atomic import UNFINISHED
from mien.io.video import open_video, write_video
from mien.synthesis.flow_images import write_flow_images
from mien.synthesis.writer import write_corpus

RESULTS: Final = Path(__file__).parent / "results" / "attack.jsonl"
PAGE: Final = Path(__file__).parents[1] / "docs" / "notebook" / "attacks.md"
SECONDS: Final = 120
"""Most seconds of a command line."""

KINDS: Final = ("lines", "kills", "requests", "uploads")
NEVER: Final = frozenset({"serve", "watch"})
"""Commands that do not end by themselves."""


def make_inputs(root: Path) -> None:
    """Write what the commands read."""
    write_flow_images(root / "pictures", subjects=4, clips_per_subject=3, seed=0, layout="folders")
    for name, system, more in (("run", "flow-svm", {}), ("other", "ststnet", {"epochs": 1})):
        mien.evaluation.run.benchmark(f"flow_images={root / 'pictures'}", system, root / name, parameters=more, jobs=1)
    mien.evaluation.train.train(
        f"flow_images={root / 'pictures'}", "ststnet", root / "m.safetensors", parameters={"epochs": 1}
    )
    write_corpus("casme_sq", root / "films", subjects=2, clips_per_subject=1, seed=0)
    rows = read_ledger(root / "run").rows
    (root / "answers.csv").write_text(
        "subject,clip,predicted\n" + "".join(f"{r.subject},{r.clip},{r.y_pred}\n" for r in rows)
    )
    rng = np.random.default_rng(0)
    for name in ("film.mkv", "again.mkv"):
        write_video(root / name, (rng.integers(0, 255, (48, 48), np.uint8) for _ in range(40)), 100)
    (root / "text.txt").write_text("kept\n")


def start(words: Sequence[str], log: Path) -> int:
    """Start `mien` in a process forked from this one, which has imported everything; return its number."""
    process = os.fork()
    if process:
        return process
    code = 70
    try:
        resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(handle, 1)
        os.dup2(handle, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(log.parent)
        tempfile.tempdir = os.environ["TMPDIR"] = str(log.parent)
        sys.stdout, sys.stderr = (os.fdopen(os.dup(n), "w") for n in (1, 2))
        sys.argv = ["mien", *words]
        main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(code)


def faults_of(code: int, said: str, *, killed: bool = False) -> list[str]:
    """Return what is wrong with how a command ended."""
    found = []
    if "Traceback (most recent call last)" in said:
        found.append("traceback")
    if code not in (0, 1, 2) and not (killed and code == -signal.SIGKILL):
        found.append(f"exit status {code}")
    usage = "Usage:" in said or "Error" in said
    if code == 2 and not usage and not ("Expected:" in said and "Try:" in said):
        found.append("fewer than three parts")
    return found


def contents(root: Path) -> dict[str, bytes]:
    """Return the files that a command must not touch."""
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file() and p.name != ".lock"
    }


def random_line(rng: random.Random, inputs: Path, out: Path) -> list[str]:
    """Return a command line that is sometimes right, mostly not."""
    commands = [name for group in GROUPS.values() for name in group if name not in NEVER]
    if rng.random() < 0.3:
        words = WRITING[rng.choice(sorted(WRITING))].format(inputs, out).split()
    else:
        words = [rng.choice(commands)]
    odd = [
        str(inputs / "film.mkv"), str(inputs / "run"), f"flow_images={inputs / 'pictures'}", str(inputs / "text.txt"),
        str(inputs), "/nowhere", "", "-1", "9" * 400, "nan", "a/[/x]", "\u202e", "=", "flow-svm", "lbp-top", "--json",
        "--help", "--out", str(out / "x"), str(out / "x.csv"), "/dev/full", "/proc/x", "--set", "epochs=1", "a=b",
        "--descriptor", "--system", "--recipe", "--seed", "0", "--jobs", "1", "--interval", "3:9", "--html",
        "--no-cache", "casme2=/nowhere", "x" * 300, "--labels", "megc2019", "--protocol", "kfold_subject", "shipped",
        "..", "%s{0}",
    ]  # fmt: skip
    for _ in range(rng.randint(0, 5)):
        place = rng.randint(1, len(words))
        if len(words) > 2 and rng.random() < 0.3:
            del words[place - 1 or 1]
        else:
            words.insert(place, rng.choice(odd))
    return [word.replace("\0", "") for word in words]


def attack_lines(numbers: range, inputs: Path, place: Path) -> list[str]:
    """Run random command lines; return the faults."""
    before, found = contents(inputs), []
    for number in numbers:
        out = place / f"line-{number}"
        out.mkdir()
        words = random_line(random.Random(number), inputs, out)
        process, began = start(words, out / "log"), time.monotonic()
        while not (done := os.waitpid(process, os.WNOHANG))[0]:
            if time.monotonic() - began > 3 * SECONDS:
                os.kill(process, signal.SIGKILL)
            time.sleep(0.02)
        code = os.waitstatus_to_exitcode(done[1])
        said = (out / "log").read_text("utf-8", "replace")
        wrong = faults_of(code, said)
        if contents(inputs) != before:
            wrong.append("loss")
        left = [path.name for path in out.rglob(f"*{UNFINISHED}")]
        wrong += ["half a file is left"] if left else []
        found += [f"{number}: {fault}: mien {' '.join(words)[:300]}" for fault in wrong]
        shutil.rmtree(out, ignore_errors=True)
    return found


def attack_kills(numbers: range, inputs: Path, place: Path) -> list[str]:
    """Kill commands at random moments and run them again; return the faults."""
    found: list[str] = []
    before = contents(inputs)
    whole: dict[str, tuple[Path, float]] = {}
    for number in numbers:
        rng = random.Random(number)
        name = sorted(KILLED)[number % len(KILLED)]
        if name not in whole:
            sound = place / f"whole-{name.replace(' ', '-')}"
            sound.mkdir()
            began = time.monotonic()
            if wrong := finish(KILLED[name].format(inputs, sound).split(), sound):
                found += [f"{number}: {fault}: {name}, not killed" for fault in wrong]
            whole[name] = sound, time.monotonic() - began
        sound, seconds = whole[name]
        out = place / f"kill-{number}"
        out.mkdir()
        words = KILLED[name].format(inputs, out).split()
        process = start(words, out / "log")
        time.sleep(rng.uniform(0, seconds))
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)
        wrong = [f"{p} differs" for p in differing(out, sound, name) if p in contents(out)]
        ended = name in ONCE and (out / ONCE[name]).exists()
        wrong += [fault for fault in finish(words, out) if not (ended and fault == "exit status 2")]
        if not wrong:
            wrong = [f"{p} differs at the end" for p in differing(out, sound, name)]
        if contents(inputs) != before:
            wrong.append("loss")
        found += [f"{number}: {fault}: {name}" for fault in wrong]
        shutil.rmtree(out, ignore_errors=True)
    return found


def finish(words: list[str], out: Path) -> list[str]:
    """Run a command to its end; return the faults. A page is asked for and then stopped, and leaves nothing."""
    process = start(words, out / "log")
    if words[0] != "serve":
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        wrong = faults_of(code, (out / "log").read_text("utf-8", "replace"))
        return wrong or ([f"exit status {code}"] if code else [])
    until, wrong, address = time.monotonic() + SECONDS, [], ""
    while not address and time.monotonic() < until:
        time.sleep(0.05)
        address = (out / "log").read_text("utf-8", "replace").partition('{"address": "')[2].partition('"')[0]
    try:
        with urllib.request.urlopen(f"{address}reports", timeout=60) as page:
            page.read()
    except (OSError, ValueError) as error:
        wrong.append(f"no answer: {error!r}")
    os.kill(process, signal.SIGTERM)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    wrong += [f"exit status {code}"] if code != 128 + signal.SIGTERM else []
    return wrong + [f"{path.name} is left" for path in out.glob("mien-*")]


def differing(run: Path, sound: Path, name: str) -> list[str]:
    """Return the results that differ from those of a command that was left alone; times and places may."""
    if name in ("report", "flow", "score"):  # pages name their folder; pictures their time
        return [p for p in ("r.html", "a.png", "s.html") if (run / p).exists() and (run / p).stat().st_size < 1000]
    found = []
    for path in sorted(p for p in sound.rglob("*") if p.is_file()):
        relative = path.relative_to(sound)
        if path.name in ("log", "run.json", ".lock") or "log" in relative.parts[:-1]:
            continue
        if not (run / relative).is_file() or not same(path, run / relative):
            found.append(str(relative))
    return found


def same(first: Path, second: Path) -> bool:
    """Return whether two results are equal: films by their frames, since Matroska numbers each file at random."""
    if first.suffix in (".json", ".eaf"):  # answers say when they were written, and how long they took
        often = r'("seconds_spent": |DATE=")[^,"]+'
        return len({re.sub(often, "", path.read_text("utf-8")) for path in (first, second)}) == 1
    if first.suffix != ".mkv":
        return filecmp.cmp(first, second, shallow=False)
    films = [[frame.pixels for frame in open_video(path).frames()] for path in (first, second)]
    return len(films[0]) == len(films[1]) and all(map(np.array_equal, *films))


class Served:
    """A running page."""

    def __init__(self) -> None:
        import uvicorn

        from mien.cli.serve import listen
        from mien.web.connections import patient_protocol
        from mien.web.intake import Limits
        from mien.web.jobs import Jobs, Rules
        from mien.web.server import build

        self.jobs = Jobs(None, Limits(mib=4, seconds=30), Rules(waiting=8, idle=5))
        self.jobs.start()
        ours = listen(0)
        self.port = ours.getsockname()[1]
        hosts = (f"127.0.0.1:{self.port}",)
        config = uvicorn.Config(
            build(self.jobs, hosts), log_level="critical", access_log=False, ws="none", http=patient_protocol(seconds=1)
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=lambda: self.server.run(sockets=[ours]), daemon=True)
        self.thread.start()

    def raw(self, content: bytes, seconds: float = 10) -> bytes:
        """Send bytes and return what comes back until the connection is closed or silent.

        Our half stays open: the server takes a client that closes it for one that has gone.
        """
        got = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as line:
            try:
                line.sendall(content)
                while part := line.recv(1 << 16):
                    got += part
            except OSError:
                pass
        return got

    def ask(self, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> tuple[int, bytes]:
        """Send a proper request."""
        head = f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nConnection: close\r\n"
        head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
        got = self.raw(head.encode() + body, 60)
        return int(got.split(b" ", 2)[1] if got.startswith(b"HTTP") else 0), got.partition(b"\r\n\r\n")[2]

    def close(self) -> None:
        """Stop it."""
        self.server.should_exit = True
        self.thread.join(60)


def hostile(rng: random.Random, port: int) -> bytes:
    """Return a request that no browser would send."""
    if rng.random() < 0.15:
        return rng.randbytes(rng.randint(1, 3000))
    method = rng.choice(["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "TRACE", "X" * 50, "get"])
    path = rng.choice(
        ["/", "/api/jobs", "/api/jobs/none/video", "/static/../../etc/passwd", "/%00", "/reports/view?run=..", "//x",
         "/" + "a" * 9000, "/api/jobs/%2e%2e/answer", "*", "http://evil/", "/static/serve.js"]
    )  # fmt: skip
    host = rng.choice([f"127.0.0.1:{port}", "evil", "", f"127.0.0.1:{port}\r\nHost: evil"])
    body = rng.choice(
        [b"", b"{", b"[" * 4000, json.dumps({"name": "x", "size": 10**400}).encode(), b'{"name": 1, "size": true}',
         json.dumps({"name": "x", "size": 5, "fps": 10**400}).encode(), b'{"name":"\\ud800","size":5}', b"\xff" * 100,
         b'{"name":"x","size":5,"fps":1e999}', b'{"name":"x","size":-1}']
    )  # fmt: skip
    length = rng.choice([str(len(body))] * 3 + ["-1", "9" * 30, "x", "0"])
    more = rng.choice(
        ["", "Transfer-Encoding: chunked\r\n", "Origin: http://evil\r\n", "Range: bytes=0-\r\n", "\0: x\r\n"]
    )
    head = f"{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n{more}"
    head += f"Content-Length: {length}\r\n\r\n"
    return head.encode("utf-8", "replace") + body


def attack_requests(numbers: range, inputs: Path, place: Path) -> list[str]:
    """Send hostile requests; return the faults."""
    page, found = Served(), []
    try:
        for number in numbers:
            sent = hostile(random.Random(number), page.port)
            got = page.raw(sent)
            status = got.split(b" ", 2)[1:2]
            if status and status[0].startswith(b"5"):
                found.append(f"{number}: status {status[0].decode()}: {sent[:200]!r}")
            if got.startswith(b"HTTP") and b"content-security-policy" not in got.lower():
                found.append(f"{number}: no headers: {sent[:200]!r}")
            if page.ask("GET", "/")[0] != 200:
                found.append(f"{number}: the server does not answer any more")
    finally:
        page.close()
    return found


def attack_uploads(numbers: range, inputs: Path, place: Path) -> list[str]:
    """Send damaged and sound videos, up to fifty at once; return the faults."""
    page, found = Served(), []
    film = (inputs / "film.mkv").read_bytes()
    lock = threading.Lock()

    def send(number: int) -> None:
        rng = random.Random(number)
        content = bytearray(film)
        for _ in range(rng.choice([0, 1, 20, 400])):
            content[rng.randrange(len(content))] = rng.randrange(256)
        if rng.random() < 0.2:
            del content[rng.randrange(1, len(content)) :]
        wrong = ""
        for _ in range(600):
            status, reply = page.ask(
                "POST", "/api/jobs", json.dumps({"name": f"{number}.mkv", "size": len(content)}).encode()
            )
            if status != 429:
                break
            time.sleep(0.5)
        if status != 201:
            wrong = f"status {status} when asked"
        else:
            address = f"/api/jobs/{json.loads(reply)['token']}"
            status = page.ask("PUT", f"{address}/video", bytes(content))[0]
            job: dict[str, Any] = {"state": ""}
            until = time.monotonic() + 600
            while status == 202 and job["state"] not in ("done", "failed") and time.monotonic() < until:
                time.sleep(0.2)
                job = json.loads(page.ask("GET", address)[1])
            if job["state"] not in ("done", "failed"):
                wrong = f"status {status}, state {job['state']!r}"
            elif job["name"] != f"{number}.mkv":
                wrong = "another's answer"
            elif job["state"] == "failed" and not all(job["error"][part] for part in ("found", "expected", "fix")):
                wrong = "fewer than three parts"
            elif job["state"] == "failed" and "unexpectedly" in job["error"]["found"]:
                wrong = "the process that analyses videos ended"
            page.ask("DELETE", address)
        if wrong:
            with lock:
                found.append(f"{number}: {wrong}")

    try:
        for begin in range(0, len(numbers), 50):
            threads = [threading.Thread(target=send, args=(n,)) for n in numbers[begin : begin + 50]]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        time.sleep(2)
        if left := list(page.jobs.root.iterdir()):
            found.append(f"loss: {len(left)} folders stay")
    finally:
        page.close()
    return found


ATTACKS: Final[dict[str, Callable[[range, Path, Path], list[str]]]] = {
    "lines": attack_lines, "kills": attack_kills, "requests": attack_requests, "uploads": attack_uploads,
}  # fmt: skip


def read_results(path: Path) -> list[dict[str, Any]]:
    """Read what all runs found."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.is_file() else []


def page_of(results: Sequence[dict[str, Any]]) -> str:
    """Return the totals of all runs as a page."""
    names = {
        "lines": "random command lines", "kills": "kills of commands", "requests": "hostile requests",
        "uploads": "uploads, up to 50 at once",
    }  # fmt: skip
    lines = [
        "# Attacks", "",
        "`python tools/attack.py lines|kills|requests|uploads --count N`, added up over all runs.", "",
        "Random lines are of all commands but `serve` and `watch`, which do not end. Kills are of every command, the",
        "first 104 of eight that write. Of the requests, the first 60 were sent over connections that the client half",
        "closed, which the server takes for a client that has gone.", "",
        "| attack | trials | faults | tracebacks | losses |", "|---|---|---|---|---|",
    ]  # fmt: skip
    said: list[str] = []
    for kind, title in names.items():
        faults = [fault for each in results if each["kind"] == kind for fault in each["faults"]]
        total = sum(each["count"] for each in results if each["kind"] == kind)
        kinds = Counter(
            "traceback" if "traceback" in f else "loss" if "loss" in f or "differs" in f else "" for f in faults
        )
        lines.append(f"| {title} | {total} | {len(faults)} | {kinds['traceback']} | {kinds['loss']} |")
        said += [f"- {kind} {fault}" for fault in faults]
        said += [f"  {remark}" for each in results if each["kind"] == kind for remark in each.get("remarks", [])]
    return "\n".join(
        [*lines, "", *(["Faults, each with the number that makes it again:", "", *said, ""] if said else [])]
    )


def run(arguments: Sequence[str] | None = None) -> int:
    """Attack, and add to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=[*KINDS, "page"])
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument(
        "--first", type=int, help="number of the first trial, to make a fault again; nothing is added up"
    )
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    results = read_results(options.results)
    if options.kind == "page":
        PAGE.write_text(page_of(results), encoding="utf-8")
        return 0
    torch.set_num_threads(1)
    done = sum(each["count"] for each in results if each["kind"] == options.kind)
    first = done if options.first is None else options.first
    numbers = range(first, first + options.count)
    with tempfile.TemporaryDirectory(prefix="mien-attack-") as folder:
        place = Path(folder)
        (place / "inputs").mkdir()
        os.environ["MIEN_CACHE"] = str(place / "cache")
        if (process := os.fork()) == 0:  # whose threads none of those that follow inherits
            make_inputs(place / "inputs")
            os._exit(0)
        if os.waitpid(process, 0)[1]:
            raise SystemExit("no inputs")
        for name in (name for group in GROUPS.values() for name in group):
            load_command(name)  # once, here, and not in every process
        faults = ATTACKS[options.kind](numbers, place / "inputs", place)
    for fault in faults:
        print(fault)
    print(f"{options.kind}: {options.count} trials from {first}, {len(faults)} faults")
    if options.first is None:
        options.results.parent.mkdir(parents=True, exist_ok=True)
        with options.results.open("a", encoding="utf-8") as file:
            file.write(
                json.dumps({"kind": options.kind, "first": first, "count": options.count, "faults": faults}) + "\n"
            )
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(run())
