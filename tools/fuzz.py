"""Damaged and forged files through every reader: an answer or a `MienError`, nothing else.

python tools/fuzz.py [--inputs 10000] [--reader NAME ...] [--seed 0] [--out tools/results/fuzz.md]
python tools/fuzz.py --guided [--inputs 10000] [--reader NAME ...]

Sound files are damaged at random: bits and blocks of bytes, numbers, lines, values within JSON, parts within archives
and chunks of pictures with their check sums put right again. Each input is read in a child process that is killed
after five seconds of work and dies with its input; then the next child goes on behind it. What counts as a failure:
another exception than `MienError`, the end of the process, more than 5 s, more than 1 GiB. A failure is told with the
number of its input: `--reader NAME --from N --inputs 1` makes it again.

`--guided` lets atheris (not in the pins; `pip install atheris`) choose the inputs by what they reach in mien's code.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import resource
import select
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before numpy and torch start threads of theirs

import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
from machine import resident_mib, stamp

from mien.errors import MienError

SECONDS = 5.0
"""Of processor time that an input may take."""
WAIT = 60.0
"""Seconds without a sign of life and without work: a lock that a fork of the runner took along, not the reader's."""
MIB = 1024.0
Mutator = Callable[[bytes, np.random.Generator], bytes]


@dataclass(frozen=True)
class Reader:
    """One way by which a file of somebody else comes in.

    Attributes:
        samples: Sound files, made in a folder that is given: (name, content).
        read: Reads what lies in a folder, the damaged file among it, whose path it is given.
        mutators: How samples are damaged, beside `bytes_changed`.
        share: Part of the inputs that it gets, where each takes long.
    """

    samples: Callable[[Path], Sequence[tuple[str, bytes]]]
    read: Callable[[Path], object]
    mutators: tuple[Mutator, ...] = ()
    share: float = 1.0


@dataclass
class Outcome:
    """What became of a reader's inputs."""

    read: int = 0
    refused: int = 0
    seconds: float = 0.0
    slowest: float = 0.0
    most_mib: float = 0.0
    failures: list[str] = field(default_factory=list)

    @property
    def inputs(self) -> int:
        """How many there were."""
        return self.read + self.refused + len(self.failures)


# Damage

_BYTES = (0, 1, 0x20, 0x7F, 0x80, 0xFF)
_NUMBERS = (b"0", b"-1", b"1e309", b"nan", b"-inf", b"99999999999999999999", b"2147483648", b"0.5", b"", b"\xd9\xa3")
_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    0.5,
    10**30,
    1e308,
    "",
    "x",
    "\0",
    "../..",
    [],
    [[]],
    {},
    {"a": None},
    ["", 3],
)


def bytes_changed(data: bytes, rng: np.random.Generator) -> bytes:
    """Bits, bytes, numbers of four bytes and blocks, anywhere."""
    out = bytearray(data)
    for _ in range(int(rng.geometric(0.35))):
        at = int(rng.integers(0, len(out) + 1))
        length = int(min(rng.geometric(0.1), 400))
        what = rng.integers(0, 8)
        if what == 0 and out:
            out[at % len(out)] ^= 1 << int(rng.integers(8))
        elif what == 1 and out:
            out[at % len(out)] = int(rng.choice(_BYTES))
        elif what == 2:
            order = "<" if rng.random() < 0.5 else ">"
            out[at : at + 4] = struct.pack(f"{order}I", int(rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 1_000_000_000])))
        elif what == 3:
            del out[at : at + length]
        elif what == 4:
            out[at:at] = rng.bytes(length)
        elif what == 5:
            out[at:at] = out[at : at + length] * int(rng.integers(1, 4))
        elif what == 6:
            del out[at:]
        else:
            other = int(rng.integers(0, len(out) + 1))
            out[at : at + length] = out[other : other + length]
    return bytes(out)


def text_changed(data: bytes, rng: np.random.Generator) -> bytes:
    """Numbers, cells and lines."""
    out = data
    for _ in range(int(rng.geometric(0.4))):
        what = rng.integers(0, 5)
        found = list(re.finditer(rb"-?\d+(\.\d+)?" if what < 2 else rb"[^,\n]+", out))
        if what < 3 and found:
            place = found[int(rng.integers(len(found)))]
            new = _NUMBERS[int(rng.integers(len(_NUMBERS)))] if what < 2 else rng.bytes(int(rng.integers(6)))
            out = out[: place.start()] + new + out[place.end() :]
        else:
            lines = out.split(b"\n")
            at = int(rng.integers(len(lines)))
            lines[at : at + 1] = [lines[at]] * int(rng.integers(0, 3)) if what == 3 else [lines[at] * 2, b"\0,\"'"]
            out = b"\n".join(lines)
    return out


def json_changed(data: bytes, rng: np.random.Generator) -> bytes:
    """Values, keys and members within JSON."""
    try:
        tree: Any = json.loads(data)
    except ValueError:
        return bytes_changed(data, rng)
    for _ in range(int(rng.geometric(0.5))):
        tree = _node_changed(tree, rng)
    return json.dumps(tree).encode()


def _node_changed(node: Any, rng: np.random.Generator) -> Any:
    if node and isinstance(node, (dict, list)) and rng.random() < 0.85:
        if isinstance(node, dict):
            key = list(node)[int(rng.integers(len(node)))]
            if rng.random() < 0.15:
                return {k: v for k, v in node.items() if k != key}
            return {**node, key: _node_changed(node[key], rng)}
        at = int(rng.integers(len(node)))
        if rng.random() < 0.15:
            return node[:at] + node[at + 1 :]
        return [*node[:at], _node_changed(node[at], rng), *node[at + 1 :]]
    return _VALUES[int(rng.integers(len(_VALUES)))]


def tensors_changed(data: bytes, rng: np.random.Generator) -> bytes:
    """The header of a safetensors file, the JSON within its texts too, with its length put right."""
    length = int.from_bytes(data[:8], "little")
    head, body = data[8 : 8 + length], data[8 + length :]
    if rng.random() < 0.6:
        tree = json.loads(head)
        about = tree.get("__metadata__", {})
        keys = [k for k, v in about.items() if v[:1] in "{["]
        if keys and rng.random() < 0.8:
            key = keys[int(rng.integers(len(keys)))]
            about[key] = json_changed(about[key].encode(), rng).decode()
        else:
            tree = _node_changed(tree, rng)
        head = json.dumps(tree).encode()
    else:
        head = bytes_changed(head, rng)
    if rng.random() < 0.2:
        body = bytes_changed(body, rng)
    return len(head).to_bytes(8, "little") + head + body


def archive_changed(data: bytes, rng: np.random.Generator) -> bytes:
    """One part of a zip archive, packed again."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        chosen = int(rng.integers(len(archive.infolist())))
        for n, part in enumerate(archive.infolist()):
            content = archive.read(part)
            if n == chosen:
                content = text_changed(content, rng) if rng.random() < 0.6 else bytes_changed(content, rng)
            if n != chosen or rng.random() < 0.95:
                new.writestr(part.filename, content)
    return out.getvalue()


def chunks_changed(data: bytes, rng: np.random.Generator) -> bytes:
    """One chunk of a PNG, with its check sum put right."""
    if data[:4] != b"\x89PNG":
        return bytes_changed(data, rng)
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    n = int(rng.integers(len(chunks)))
    kind, content = chunks[n]
    if kind == b"IDAT" and rng.random() < 0.5:
        content = zlib.compress(bytes_changed(zlib.decompress(content), rng))
    else:
        content = bytes_changed(content, rng)
    chunks[n] = kind, content
    whole = b"".join(
        struct.pack(">I", len(c)) + k + c + struct.pack(">I", zlib.crc32(k + c)) for k, c in chunks
    )  # fmt: skip
    return data[:8] + whole


# Sound files


def _table() -> list[list[str | int]]:
    head: list[str | int] = ["Subject", "Filename", "OnsetFrame", "ApexFrame", "OffsetFrame", "Action Units"]
    rows: list[list[str | int]] = [
        [n // 3 + 1, f"EP{n:02d}", 10 + n, 20 + n, 30 + n, "4+L12", "happiness"] for n in range(9)
    ]
    return [[*head, "Estimated Emotion"], *rows]


def csv_sheet(_: Path) -> list[tuple[str, bytes]]:
    text = "\n".join(",".join(map(str, row)) for row in _table())
    return [("CASME2-coding-20140508.csv", text.encode()), ("CASME2-coding-20140508.csv", text.encode("gb18030"))]


def xlsx_sheet(_: Path) -> list[tuple[str, bytes]]:
    from openpyxl import Workbook

    book, out = Workbook(), io.BytesIO()
    assert book.active is not None
    for row in _table():
        book.active.append(row)
    book.save(out)
    return [("CASME2-coding-20140508.xlsx", out.getvalue())]


def xls_bytes(cells: Sequence[tuple[int, int, float]]) -> bytes:
    """A spreadsheet of numbers, (row, column, value), in the format of 1997."""

    def record(kind: int, body: bytes) -> bytes:
        return struct.pack("<HH", kind, len(body)) + body

    name = b"\x06\x00Sheet1"
    begin = struct.pack("<HHHHII", 0x600, 5, 0, 1997, 0, 0), struct.pack("<HHHHII", 0x600, 0x10, 0, 1997, 0, 0)
    bound = struct.pack("<IH", 0, 0) + name
    before = len(record(0x809, begin[0])) + len(record(0x85, bound)) + len(record(0x0A, b""))
    bound = struct.pack("<IH", before, 0) + name
    book = record(0x809, begin[0]) + record(0x85, bound) + record(0x0A, b"") + record(0x809, begin[1])
    book += b"".join(record(0x203, struct.pack("<HHHd", row, column, 0, value)) for row, column, value in cells)
    book += record(0x0A, b"")
    book = book.ljust(-(-max(len(book), 4096) // 512) * 512, b"\0")
    n = len(book) // 512
    fat = [0xFFFFFFFD, 0xFFFFFFFE, *range(3, n + 2), 0xFFFFFFFE]
    table = struct.pack(f"<{len(fat)}I", *fat).ljust(512, b"\xff")

    def entry(text: str, kind: int, child: int, start: int, size: int) -> bytes:
        told = text.encode("utf-16-le") + b"\0\0"
        body = told.ljust(64, b"\0") + struct.pack("<HBBIII", len(told), kind, 1, 0xFFFFFFFF, 0xFFFFFFFF, child)
        return body.ljust(116, b"\0") + struct.pack("<IQ", start, size)

    folder = entry("Root Entry", 5, 1, 0xFFFFFFFE, 0) + entry("Workbook", 2, 0xFFFFFFFF, 2, len(book))
    head = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    head += struct.pack("<IIIIIIIII", 0, 1, 1, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0) + struct.pack("<I", 0)
    return head.ljust(512, b"\xff") + table + folder.ljust(512, b"\0") + book


def xls_sheet(_: Path) -> list[tuple[str, bytes]]:
    return [("table.xls", xls_bytes([(row, column, row * column) for row in range(9) for column in range(7)]))]


def picture(shape: tuple[int, ...] = (64, 48, 3)) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8)


def pictures(_: Path) -> list[tuple[str, bytes]]:
    import cv2

    made = [("p" + ending, cv2.imencode(ending, picture())[1].tobytes())
            for ending in (".png", ".jpg", ".bmp", ".tiff", ".webp", ".ppm", ".jp2")]  # fmt: skip
    made.append(("deep.png", cv2.imencode(".png", picture((8, 8)).astype(np.uint16) * 257)[1].tobytes()))
    made.append(("clear.png", cv2.imencode(".png", picture((8, 8, 4)))[1].tobytes()))
    return made


def frames_folder(place: Path) -> list[tuple[str, bytes]]:
    for n in (1, 3):
        (place / f"img{n}.png").write_bytes(pictures(place)[0][1])
    return [("img2.png", pictures(place)[0][1]), ("img0.png", pictures(place)[0][1])]


def films(place: Path) -> list[tuple[str, bytes]]:
    import av

    from mien.io.video import write_video

    made = []
    for ending in (".mkv", ".mp4", ".gif"):
        path = write_video(place / f"sound{ending}", (picture((32, 32, 3)) for _ in range(12)), 25)
        made.append((f"film{ending}", path.read_bytes()))
        path.unlink()
    for ending, codec, layout in ((".avi", "mjpeg", "yuvj420p"), (".mov", "mpeg4", "yuv420p")):
        path = place / f"sound{ending}"
        with av.open(str(path), "w") as container:
            stream: Any = container.add_stream(codec, rate=25)
            stream.width = stream.height = 32
            stream.pix_fmt = layout
            for _ in range(8):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture((32, 32, 3)), format="rgb24")))
            container.mux(stream.encode())
        made.append((f"film{ending}", path.read_bytes()))
        path.unlink()
    return made


def flow_csv(place: Path) -> list[tuple[str, bytes]]:
    from mien.synthesis.flow_images import write_flow_images

    write_flow_images(place, subjects=3, clips_per_subject=2, seed=0, layout="csv", size=16)
    path = next(place.glob("*.csv"))
    return [(path.name, path.read_bytes())]


def run_folder(place: Path) -> list[tuple[str, bytes]]:
    """A finished run of three folds over two seeds."""
    from mien.evaluation.ledger import Row, failures_file, fold_file, rows_as_csv
    from mien.io.atomic import write_atomically

    classes = ("negative", "positive", "surprise")
    settings = {
        "version": "0.1.0", "system": "ststnet", "system_title": "STSTNet", "parameters": {"epochs": 3, "lr": 1e-3},
        "recipes": {"flow": "0"}, "protocol": "loso", "protocol_parameters": {}, "protocol_warning": None,
        "shares_subjects": False, "labels": "megc2019", "classes": list(classes),
        "data": [{"name": "flow_images", "root": "data"}], "datasets": ["casme2"], "n_clips": 9, "clip_table": "0",
        "seeds": [0, 1], "n_folds": 3, "shuffle_labels": False, "synthetic": False, "lacking": {"f0": ["positive"]},
    }  # fmt: skip
    write_atomically(place / "run.json", json.dumps(settings, indent=1))
    rng = np.random.default_rng(0)
    failure = {"clip": "casme2/s0/c0", "found": "a", "expected": "b", "fix": "c"}
    write_atomically(failures_file(place), json.dumps([failure]))
    for seed in (0, 1):
        for number in range(3):
            rows = []
            for n in range(3):
                p = rng.dirichlet(np.ones(3)).astype(np.float32)
                failed = number == n == 0
                rows.append(
                    Row(
                        "casme2", f"s{number}", f"c{n}", f"f{number}", seed, "failed" if failed else "annotated",
                        classes[n], "" if failed else classes[int(p.argmax())],
                        () if failed else tuple(map(float, p)),
                    )
                )  # fmt: skip
            write_atomically(fold_file(place, seed, number), rows_as_csv(rows, classes))
            log = {"fold": f"f{number}", "seconds": 1.5, "loss": [1.0, 0.5], "chosen": {"c": 1}}
            write_atomically(place / "log" / f"s{seed}-f{number:04d}.json", json.dumps(log))
    names = ("run.json", "failed.json", "ledger/s0-f0001.csv", "ledger/s1-f0000.csv", "log/s0-f0000.json")
    return [(name, (place / name).read_bytes()) for name in names]


def spot_folder(place: Path) -> list[tuple[str, bytes]]:
    from mien.evaluation.ledger import fold_file
    from mien.evaluation.spotting.ledger import SpotRow, rows_as_csv
    from mien.io.atomic import write_atomically

    settings = {
        "task": "spot", "version": "0.1.0", "system": "mdmd", "system_title": "MDMD", "parameters": {"k": 12},
        "given": [], "protocol": "loso", "protocol_parameters": {}, "data": [{"name": "samm_lv", "root": "d"}],
        "datasets": ["samm_lv"], "n_videos": 2, "video_table": "0", "seeds": [0], "n_folds": 2, "synthetic": False,
    }  # fmt: skip
    write_atomically(place / "run.json", json.dumps(settings))
    for number in range(2):
        one = ("samm_lv", f"s{number}", "v", f"f{number}", 0)
        rows = [SpotRow(*one, "video", "", 0, None, 900), SpotRow(*one, "true", "micro", 10, 20, 40, None, "anger"),
                SpotRow(*one, "found", "micro", 12, 20, 44, 0.7, "anger")]  # fmt: skip
        write_atomically(fold_file(place, 0, number), rows_as_csv(rows))
        log = {"fold": f"f{number}", "seconds": 1.5, "chosen": {"p": 0.5}}
        write_atomically(place / "log" / f"s0-f{number:04d}.json", json.dumps(log))
    names = ("run.json", "ledger/s0-f0000.csv", "log/s0-f0000.json")
    return [(name, (place / name).read_bytes()) for name in names]


def _small_net() -> tuple[Any, Any]:
    from mien.systems import system

    chosen = system("strcn-g")
    parameters = chosen.with_parameters({"maps": 2, "layers": 1, "epochs": 1})
    x = np.random.default_rng(0).standard_normal((6, 3, 28, 28)).astype(np.float32)
    people = [("d", str(n)) for n in range(6)]
    return chosen.build(3, parameters).fit(x, np.arange(6, dtype=np.int64) % 3, people, seed=0), parameters


def checkpoints(place: Path) -> list[tuple[str, bytes]]:
    from mien.classifiers.checkpoint import ModelCard, save_checkpoint, versions

    net, parameters = _small_net()
    score = {"protocol": "loso", "averaging": "pooled", "seeds": [0], "n_clips": 6, "n_subjects": 6}
    score |= dict.fromkeys(("uf1", "uar", "accuracy", "majority_accuracy"), 0.5)
    card = ModelCard(
        "strcn-g", parameters.model_dump(mode="json"), ("negative", "positive", "surprise"), "megc2019",
        ({"dataset": "casme2", "clips": 6, "subjects": 6, "synthetic": True},), {"flow": "0"}, (3, 28, 28), 0, score,
        versions=versions(),
    )  # fmt: skip
    save_checkpoint(place / "model.safetensors", net, card)
    return [("model.safetensors", (place / "model.safetensors").read_bytes())]


def states(place: Path) -> list[tuple[str, bytes]]:
    from mien.classifiers.state import write_state

    model, optimiser = _net_and_optimiser()
    write_state(place / "state.safetensors", model, optimiser, [1.0, 0.5])
    return [("state.safetensors", (place / "state.safetensors").read_bytes())]


def _net_and_optimiser() -> tuple[Any, Any]:
    import torch

    model = torch.nn.Linear(3, 2)
    optimiser = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    model(torch.ones(1, 3)).sum().backward()
    optimiser.step()
    return model, optimiser


def entries(_: Path) -> list[tuple[str, bytes]]:
    from mien.preprocessing import Recipe
    from mien.preprocessing.base import RecipeOutput
    from mien.preprocessing.cache import entry_bytes
    from mien.types import Clip

    made = RecipeOutput(np.arange(24, dtype=np.float32).reshape(2, 3, 4), "annotated", ("a note",))
    entry = entry_bytes(made, Clip("casme2", "s", "c", None, ""), Recipe((), "CHW", (2, 3, 4), (0, 1)))
    return [("entry.safetensors", entry)]


def manifests(place: Path) -> list[tuple[str, bytes]]:
    from mien.datasets.base import MANIFEST

    (place / "CASME2-coding-20140508.csv").write_bytes(csv_sheet(place)[0][1])
    (place / "CASME2_RAW_selected").mkdir()
    told = {"layout": "casme2", "fps": 200.0, "seed": 0, "subjects": 3, "clips": 3, "width": 160}
    return [(MANIFEST, json.dumps(told).encode())]


def recipe_files(place: Path) -> list[tuple[str, bytes]]:
    from mien.preprocessing import named_recipe
    from mien.preprocessing.prepare import ABOUT, prepare

    prepare([], named_recipe("strcn-g"), out=place)
    return [(ABOUT, (place / ABOUT).read_bytes())]


def portraits(_: Path) -> list[tuple[str, bytes]]:
    import cv2

    from mien.face.portrait import portrait

    small = cv2.resize(portrait(), (160, 160), interpolation=cv2.INTER_AREA)[..., ::-1]
    return [(f"face{e}", cv2.imencode(e, small)[1].tobytes()) for e in (".jpg", ".png")]


def typed_words(_: Path) -> list[tuple[str, bytes]]:
    return [("words", b"epochs=10 dropout=0.5 shuffle=true preset=paper 10:40:22 casme2=/data/x alphas=[1,2] \xc3\xbc")]


# Reading


def read_sheet(path: Path) -> None:
    from mien.datasets import open_dataset
    from mien.datasets.sheet import read_cells

    read_cells(path)
    if path.suffix != ".xls":
        (path.parent / "CASME2_RAW_selected").mkdir(exist_ok=True)
        data = open_dataset("casme2", path.parent)
        data.problems()
        _labelled(data.clips())


def _labelled(clips: Any) -> None:
    from mien.datasets.labels import samples

    samples(clips, "casme2_5")
    samples(clips, "own")


def read_picture(path: Path) -> None:
    from mien.datasets.flow_images import read_flow_picture
    from mien.io.video import open_video

    try:
        open_video(path).frame(0, grey=True)
    finally:
        read_flow_picture(path)


def read_frames(path: Path) -> None:
    from mien.io.video import open_video

    for _ in open_video(path.parent).frames():
        pass


def read_film(path: Path) -> None:
    from mien.io.video import open_video

    film = open_video(path)
    n = film.n_frames
    for _ in islice(film.frames(), 40):
        pass
    for _ in film.frames(max((n or 1) - 1, 0), None, grey=True):
        break


def read_upload(path: Path) -> None:
    from mien.web.intake import Limits, open_upload, shown_name

    name = shown_name(path.read_bytes()[:300].decode("utf-8", "replace"))
    assert 0 < len(name) <= 120, name
    assert not set(name) & set('/\\\0:*?"<>|'), name
    film = open_upload(path, Limits(mib=4, seconds=30))
    for _ in islice(film.frames(), 5):
        pass


def read_flow_folder(path: Path) -> None:
    from mien.datasets import open_dataset

    data = open_dataset("flow_images", path.parent)
    data.clips()
    data.problems()


def read_run(path: Path) -> None:
    from mien.evaluation.compare import compare
    from mien.evaluation.ledger import read_ledger
    from mien.evaluation.report import render_report, report_many
    from mien.evaluation.report_html import write_html

    run = path.parent if path.parent.name not in ("ledger", "log") else path.parent.parent
    told = report_many([run])[0]
    render_report(told)
    json.dumps(told)
    write_html([run], run / "page.html")
    ledger = read_ledger(run)
    compare(ledger, ledger, n=5)


def read_spot_run(path: Path) -> None:
    from mien.evaluation.spotting.report import render_spot_report, spot_report

    run = path.parent if path.parent.name not in ("ledger", "log") else path.parent.parent
    render_spot_report(spot_report(run))


def read_checkpoint(path: Path) -> None:
    from mien.systems.trained import load_checkpoint

    net, card = load_checkpoint(path)
    if card.shape == (3, 28, 28):
        net.predict_proba(np.zeros((1, *card.shape), np.float32))


def read_unfinished(path: Path) -> None:
    from mien.classifiers.state import read_state

    if not read_state(path, *_net_and_optimiser()):
        raise MienError("No state.", "one.", "none.")


def read_cached(path: Path) -> None:
    from mien.preprocessing.cache import read_entry
    from mien.preprocessing.inputs import map_entry

    with suppress(OSError, ValueError, KeyError):
        np.asarray(map_entry(path)).sum()
    if read_entry(path) is None:
        raise MienError("No entry.", "one.", "none.")


def read_manifest(path: Path) -> None:
    from mien.datasets import open_dataset

    open_dataset("synthetic", path.parent).clips()
    open_dataset("casme2", path.parent).clips()


def read_recipe(path: Path) -> None:
    from mien.preprocessing import named_recipe
    from mien.preprocessing.prepare import prepare

    prepare([], named_recipe("strcn-g"), out=path.parent)


def read_portrait(path: Path) -> None:
    from mien.synthesis.corpus import _portrait

    _portrait.__wrapped__(str(path))


def read_words(path: Path) -> None:
    from mien.cli.inputs import read_interval
    from mien.cli.shell import pairs
    from mien.datasets import parse_spec
    from mien.io.video import open_video
    from mien.systems import SYSTEMS

    for word in path.read_bytes().decode("utf-8", "replace").split(" "):
        for ask in (read_interval, parse_spec, open_video):
            with suppress(MienError):
                ask(word)
        for system in ("ststnet", "strcn-g", "strcn-a"):
            with suppress(MienError):
                SYSTEMS[system].with_parameters(pairs([word], "--set"))


READERS: Mapping[str, Reader] = {
    "sheet-csv": Reader(csv_sheet, read_sheet, (text_changed,)),
    "sheet-xlsx": Reader(xlsx_sheet, read_sheet, (archive_changed, archive_changed)),
    "sheet-xls": Reader(xls_sheet, read_sheet, share=0.02),
    "flow-csv": Reader(flow_csv, read_flow_folder, (text_changed,)),
    "picture": Reader(pictures, read_picture, (chunks_changed,)),
    "folder": Reader(frames_folder, read_frames, (chunks_changed,)),
    "film": Reader(films, read_film),
    "upload": Reader(films, read_upload),
    "run": Reader(run_folder, read_run, (json_changed, text_changed), share=0.1),
    "spot-run": Reader(spot_folder, read_spot_run, (json_changed, text_changed)),
    "checkpoint": Reader(checkpoints, read_checkpoint, (tensors_changed, tensors_changed)),
    "state": Reader(states, read_unfinished, (tensors_changed,)),
    "cache": Reader(entries, read_cached, (tensors_changed,)),
    "manifest": Reader(manifests, read_manifest, (json_changed,)),
    "recipe": Reader(recipe_files, read_recipe, (json_changed,)),
    "portrait": Reader(portraits, read_portrait, (chunks_changed,), share=0.1),
    "words": Reader(typed_words, read_words, (text_changed,)),
}


# Running


def one_thread() -> None:
    """Forks must not take along the locks of threads."""
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--reader", nargs="+", choices=sorted(READERS), default=list(READERS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--from", dest="first", type=int, default=0)
    parser.add_argument("--guided", action="store_true", help="let atheris choose the inputs")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    one_thread()
    if options.guided:
        guided(options.reader, options.inputs)
        return
    outcomes = {}
    for name in options.reader:
        n = max(1, round(options.inputs * READERS[name].share)) if options.inputs > 1 else 1
        outcomes[name] = run(name, range(options.first, options.first + n), options.seed)
        told = outcomes[name]
        print(f"{name}: {told.inputs} inputs, {len(told.failures)} failures", flush=True)
        for failure in told.failures[:5]:
            print("  " + failure.replace("\n", "\n  "), flush=True)
    text = page(outcomes, options.inputs, options.seed)
    print(text)
    if options.out:
        options.out.write_text(text)
    if any(each.failures for each in outcomes.values()):
        sys.exit(1)


def run(name: str, numbers: range, seed: int = 0) -> Outcome:
    """Some inputs of a reader, each read in a child process."""
    outcome, began = Outcome(), time.monotonic()
    with tempfile.TemporaryDirectory(prefix="mien-fuzz-") as folder:
        place = Path(folder)
        (place / "sound").mkdir()
        samples = READERS[name].samples(place / "sound")
        at = numbers.start
        while at < numbers.stop:
            at = _child(name, range(at, numbers.stop), seed, place, samples, outcome)
    outcome.seconds = time.monotonic() - began
    return outcome


def _child(
    name: str, numbers: range, seed: int, place: Path, samples: Sequence[tuple[str, bytes]], outcome: Outcome
) -> int:
    """Reads inputs in a fork until they end or one brings it down; gives the number of the next."""
    out, into = os.pipe()
    process = os.fork()
    if not process:
        os.close(out)
        try:
            for answer in _lines(name, numbers, seed, place, samples):
                os.write(into, answer.encode() + b"\0")
        except BaseException:
            os._exit(70)  # a fault of this script
        os._exit(0)
    os.close(into)
    told, current, spent_before, heard = b"", numbers.start, 0.0, time.monotonic()
    try:
        while True:
            ready, _, _ = select.select([out], [], [], 0.5)
            if ready:
                block = os.read(out, 1 << 16)
                if not block:
                    break
                told += block
                *lines, told = told.split(b"\0")
                for line in lines:
                    current = _heard(json.loads(line), outcome)
                    spent_before, heard = _spent(process), time.monotonic()
            elif time.monotonic() - heard > WAIT and _spent(process) - spent_before < 0.5:
                os.kill(process, signal.SIGKILL)
                os.waitpid(process, 0)
                return current  # once more, in another fork
            elif _spent(process) - spent_before > SECONDS:
                os.kill(process, signal.SIGKILL)
                outcome.failures.append(f"input {current}: more than {SECONDS:g} s")
                os.waitpid(process, 0)
                return current + 1
    finally:
        os.close(out)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status:
        outcome.failures.append(f"input {current}: the process ended with {status}")
        return current + 1
    return max(current, numbers.start + 1)


def _heard(line: Mapping[str, Any], outcome: Outcome) -> int:
    """Notes one outcome; gives the number of the input that comes next."""
    outcome.slowest = max(outcome.slowest, line["seconds"])
    outcome.most_mib = max(outcome.most_mib, line["mib"])
    if line["failure"]:
        outcome.failures.append(f"input {line['number']}: {line['failure']}")
    elif line["read"]:
        outcome.read += 1
    else:
        outcome.refused += 1
    return int(line["number"]) + 1


def _spent(process: int) -> float:
    """Seconds of processor time of a process."""
    try:
        facts = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(facts[11]) + int(facts[12])) / os.sysconf("SC_CLK_TCK")


def _lines(name: str, numbers: range, seed: int, place: Path, samples: Sequence[tuple[str, bytes]]) -> Iterator[str]:
    """Within the child: one line for each input."""
    quiet = os.open(os.devnull, os.O_RDWR)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    warnings.simplefilter("ignore")
    base = resident_mib("VmHWM")
    most = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + (3 << 30)
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    reader = READERS[name]
    for number in numbers:
        path, data = damaged(reader, samples, number, seed)
        failure, read, seconds = once(reader, place, path, data)
        mib = resident_mib("VmHWM") - base
        if not failure and mib > MIB:
            failure = f"{mib:.0f} MiB"
        yield json.dumps({"number": number, "failure": failure, "read": read, "seconds": seconds, "mib": mib})
        if mib > MIB:
            return  # the next child begins with less


def damaged(reader: Reader, samples: Sequence[tuple[str, bytes]], number: int, seed: int) -> tuple[str, bytes]:
    """Input of some number: the name of the file and what is in it."""
    rng = np.random.default_rng([seed, number])
    name, data = samples[int(rng.integers(len(samples)))]
    if rng.random() < 0.02:
        return name, data
    how = (bytes_changed, *reader.mutators)
    for _ in range(2 if rng.random() < 0.2 else 1):
        with suppress(Exception):  # what is damaged already may not be of the kind any more
            data = how[int(rng.integers(len(how)))](data, rng)
    return name, data


def once(reader: Reader, place: Path, name: str, data: bytes) -> tuple[str, bool, float]:
    """Reads one input; gives what went wrong or "", whether it was read, and seconds of work."""
    work = place / "work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(place / "sound", work)
    (work / name).parent.mkdir(exist_ok=True)
    (work / name).write_bytes(data)
    began = time.process_time()
    try:
        reader.read(work / name)
        return "", True, time.process_time() - began
    except MienError as error:
        whole = all(isinstance(part, str) and part for part in (error.found, error.expected, error.fix))
        return "" if whole else f"an error in fewer than three parts: {error}", False, time.process_time() - began
    except BaseException:
        return traceback.format_exc(limit=-4), False, 0.0


def page(outcomes: Mapping[str, Outcome], inputs: int, seed: int) -> str:
    """The results."""
    lines = [
        "# Damaged files",
        "",
        stamp(),
        "",
        f"`python tools/fuzz.py --inputs {inputs} --seed {seed}`: sound files damaged at random, each read in a "
        "child process. A failure is an exception other than `MienError`, the end of the process, more than "
        f"{SECONDS:g} s of work or more than {MIB:.0f} MiB.",
        "",
        "| reader | inputs | read | refused in three parts | failures | slowest, s | most memory, MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, told in outcomes.items():
        lines.append(
            f"| {name} | {told.inputs} | {told.read} | {told.refused} | {len(told.failures)} | {told.slowest:.2f} | "
            f"{told.most_mib:.0f} |"
        )
    lines += ["", "Where a reader takes long for each (a process, a face to be found), it gets fewer inputs.", ""]
    return "\n".join(lines)


# Chosen by coverage


def guided(names: Sequence[str], inputs: int) -> None:
    """Lets atheris choose inputs for each reader, in a process of its own; stops at the first failure of each."""
    import subprocess

    for name in names:
        with tempfile.TemporaryDirectory(prefix="mien-fuzz-") as folder:
            place = Path(folder)
            (place / "sound").mkdir()
            (place / "corpus").mkdir()
            for n, (_, data) in enumerate(READERS[name].samples(place / "sound")):
                (place / "corpus" / str(n)).write_bytes(data)
            n = max(1, round(inputs * READERS[name].share))
            words = [sys.executable, "-c", _GUIDED, name, str(place), f"-runs={n}", f"-timeout={SECONDS:g}",
                     "-rss_limit_mb=3072", "-max_len=20000", str(place / "corpus")]  # fmt: skip
            told = subprocess.run(words, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
            ends = [line for line in (told.stdout + told.stderr).splitlines() if line.strip()]
            print(f"{name}: {n} inputs, {'no failure' if not told.returncode else 'failed'}", flush=True)
            if told.returncode:
                print("\n".join(ends[-15:]), flush=True)


_GUIDED = """
import sys
from pathlib import Path
import atheris
with atheris.instrument_imports(include=["mien"]):
    import fuzz
    import mien.datasets, mien.evaluation.report, mien.evaluation.spotting.report, mien.classifiers.checkpoint
    import mien.preprocessing.inputs
    import mien.web.intake, mien.cli.inputs, mien.io.video, mien.classifiers.training, mien.synthesis.corpus
reader, place = fuzz.READERS[sys.argv[1]], Path(sys.argv[2])
(place / "other").mkdir(exist_ok=True)
name = reader.samples(place / "other")[0][0]
def one(data):
    failure, _, _ = fuzz.once(reader, place, name, bytes(data))
    if failure:
        raise RuntimeError(failure)
atheris.Setup([sys.argv[0], *sys.argv[3:]], one)
atheris.Fuzz()
"""


if __name__ == "__main__":
    main()
