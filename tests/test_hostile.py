"""Files made to fill memory or to bring a reader down: told in three parts, soon, in little memory."""

from __future__ import annotations

import importlib
import io
import struct
import subprocess
import sys
import zipfile
import zlib
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch
from openpyxl import Workbook
from safetensors.torch import load_file, save_file

from mien import MOST_PIXELS
from mien.classifiers.state import read_state, write_state
from mien.datasets import parse_spec
from mien.datasets.check import _look
from mien.datasets.flow_images import read_flow_picture
from mien.datasets.rows import whole_number
from mien.datasets.sheet import read_cells
from mien.errors import MienError
from mien.io.video import open_video, write_video
from mien.systems import SYSTEMS
from mien.web.intake import Limits, open_upload

sys.path.append(str(Path(__file__).parents[1] / "tools"))
fuzz = importlib.import_module("fuzz")
planted = importlib.import_module("planting").planted


def test_every_reader_with_fifty_damaged_files(tmp_path: Path) -> None:
    """A process of its own: it forks, and it lets children die."""
    words = [sys.executable, str(fuzz.__file__), "--inputs", "50", "--out", str(tmp_path / "fuzz.md")]
    told = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    table = (tmp_path / "fuzz.md").read_text()
    assert all(f"| {name} |" in table for name in fuzz.READERS)


def test_the_runner_sees_what_it_looks_for() -> None:
    """Readers that fail in each way: an exception, a dead process, too much memory, an error of fewer parts."""
    ways = {"e": "planted", "d": "ended with -9", "m": "MiB", "t": "fewer than three", "x": ""}
    # A process of its own: forks of one with threads may hang, and its memory is that of other tests.
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        outcomes = dict(zip(ways, pool.map(planted, ways), strict=True))
    for letter, words in ways.items():
        inputs, failures = outcomes[letter]
        assert inputs == 4
        assert sum(words in failure for failure in failures) >= 2 if words else not failures, (letter, failures)


# Spreadsheets


def forged_xlsx(path: Path, sheet: bytes) -> Path:
    """A spreadsheet whose sheet is this, and which says that it is small."""
    book, sound = Workbook(), io.BytesIO()
    book.save(sound)
    with zipfile.ZipFile(sound) as archive, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for part in archive.infolist():
            new.writestr(part.filename, sheet if "sheet1" in part.filename else archive.read(part))
    honest = struct.pack("<I", len(sheet))
    content = path.read_bytes()
    assert content.count(honest) >= 2
    path.write_bytes(content.replace(honest, struct.pack("<I", 100)))
    return path


SHEET = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>%s</sheetData></worksheet>'


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (b'<row r="1"><c r="A1"><v>1</v></c></row>' + b" " * (80 << 20), "unpacks to more than 64 MiB"),
        (b'<row r="1"><c r="A1"><v>1</v></c><c r="XFD1048576"><v>1</v></c></row>', "row 1048576, column"),
        (b'<row r="1"><c r="A1"><v>1</v></c><c r = \'B99999999999\'><v>1</v></c></row>', "row 99999999999"),
        (b'<row r="1048576">' + b"<c><v>1</v></c>" * 9000 + b"</row>", "row 1048576"),
    ],
)
def test_a_spreadsheet_that_unpacks_without_end(tmp_path: Path, rows: bytes, words: str) -> None:
    path = forged_xlsx(tmp_path / "s.xlsx", SHEET % rows)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(MienError, match=words):
        read_cells(path)


def test_a_spreadsheet_that_wants_a_later_archiver_is_told(tmp_path: Path) -> None:
    path = forged_xlsx(tmp_path / "s.xlsx", SHEET % b"")
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 6] = 255
    path.write_bytes(raw)
    with pytest.raises(MienError, match=r"version 25\.5"):
        read_cells(path)


def test_an_old_spreadsheet_is_read_and_a_forged_one_brings_nothing_down(tmp_path: Path) -> None:
    path = tmp_path / "s.xls"
    path.write_bytes(fuzz.xls_bytes([(0, 0, 1.0), (1, 2, 7.5)]))
    assert read_cells(path) == [["1", "", ""], ["", "", "7.5"]]
    with pytest.raises(MienError, match="a sheet 3"):
        read_cells(path, 3)
    path.write_bytes(fuzz.xls_bytes([(0, 0, 1.0), (65535, 65535, 1.0)]))
    with pytest.raises(MienError, match="cannot be read"):
        read_cells(path)


@pytest.mark.parametrize("text", ["9" * 400, "1" * 16, "\u0663", "1e5", "--1", "1.5", "nan"])
def test_what_is_no_number_of_a_frame(text: str) -> None:
    assert whole_number(text) is None
    assert whole_number("120.0") == 120


def test_a_cell_without_end_is_told(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    path.write_text("a,b\n" + "x" * 200_000)
    with pytest.raises(MienError, match="field larger"):
        read_cells(path)


# Pictures and films


def png(width: int, height: int) -> bytes:
    """A PNG that claims to be large; its rows all compress to almost nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(60_000, 60_000), (2**31 - 1, 2**31 - 1), (MOST_PIXELS, 2), (0, 5)])
def test_a_picture_that_claims_to_be_large(tmp_path: Path, size: tuple[int, int]) -> None:
    path = tmp_path / "p.png"
    path.write_bytes(png(*size))
    with pytest.raises(MienError, match="no picture that can be read"):
        open_video(path)
    with pytest.raises(MienError, match="cannot be read"):
        read_flow_picture(path)
    assert "cannot be read" in _look(path, decode=True, digest=False, flow=False).fault


def test_a_png_whose_chunk_claims_two_gigabytes(tmp_path: Path) -> None:
    ok, sound = cv2.imencode(".png", np.full((8, 8), 7, np.uint16))
    assert ok
    raw = bytearray(sound.tobytes())
    at = raw.index(b"IDAT") - 4
    (tmp_path / "sound.png").write_bytes(raw)
    assert open_video(tmp_path / "sound.png").frame(0).pixels.shape == (8, 8)
    raw[at : at + 4] = b"\x7f\x00\x00\x93"
    (tmp_path / "forged.png").write_bytes(raw)
    before = fuzz.resident_mib("VmHWM")
    with pytest.raises(MienError):
        open_video(tmp_path / "forged.png").frame(0)
    assert fuzz.resident_mib("VmHWM") - before < 200


def test_a_gif_that_claims_a_large_canvas_and_one_of_many_frames(tmp_path: Path) -> None:
    write_video(tmp_path / "f.gif", (np.full((16, 16), n % 2 * 255, np.uint8) for n in range(3000)), 50)
    film = open_video(tmp_path / "f.gif")
    assert sum(1 for _ in film.frames()) == 3000
    content = bytearray((tmp_path / "f.gif").read_bytes())
    content[6:10] = struct.pack("<HH", 65535, 65535)
    (tmp_path / "f.gif").write_bytes(content)
    with pytest.raises(MienError):
        open_video(tmp_path / "f.gif").frame(0)


@pytest.mark.parametrize(("each", "count"), [(0, 10**9), (1, 10**9), (2**20, 10**6)])
def test_a_film_that_claims_a_thousand_million_frames(tmp_path: Path, each: int, count: int) -> None:
    path = write_video(tmp_path / "f.mp4", (np.full((32, 32), n, np.uint8) for n in range(10)), 25)
    content = bytearray(path.read_bytes())
    at = content.index(b"stsz")
    assert struct.unpack(">II", content[at + 8 : at + 16])[1] == 10
    content[at + 8 : at + 16] = struct.pack(">II", each, count)
    path.write_bytes(content)
    for look in (open_video, lambda path: open_upload(path, Limits())):
        with pytest.raises(MienError, match="more frames than it has bytes"):
            look(path)


def test_a_film_in_fragments_is_looked_through_too(tmp_path: Path) -> None:
    path = tmp_path / "f.mp4"
    with av.open(str(path), "w", options={"movflags": "frag_keyframe+empty_moov"}) as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width = stream.height = 32
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame(32, 32, "yuv420p")))
        container.mux(stream.encode())
    assert sum(1 for _ in open_video(path).frames()) == 10
    content = bytearray(path.read_bytes())
    at = content.index(b"trun")
    content[at + 8 : at + 12] = struct.pack(">I", 10**9)
    path.write_bytes(content)
    with pytest.raises(MienError, match="more frames than it has bytes"):
        open_video(path)


def test_true_is_no_number_and_chance_must_be_a_state_of_a_generator(tmp_path: Path) -> None:
    for name in ("test_shift", "strength"):
        with pytest.raises(MienError, match=f"{name} is true"):
            SYSTEMS["strcn-g"].with_parameters({name: True})
    assert SYSTEMS["strcn-g"].with_parameters({"mirror": True}).mirror is True
    model = torch.nn.Linear(2, 2)
    optimiser = torch.optim.SGD(model.parameters(), 0.1)
    write_state(tmp_path / "s", model, optimiser, [0.5])
    assert read_state(tmp_path / "s", model, optimiser) == [0.5]
    tensors = load_file(tmp_path / "s")
    tensors["chance"] = torch.full_like(tensors["chance"], 255)
    save_file(tensors, tmp_path / "forged", metadata={"losses": "[0.5]"})
    before = {k: v.clone() for k, v in model.state_dict().items()}
    assert read_state(tmp_path / "forged", model, optimiser) == []
    assert all(torch.equal(v, model.state_dict()[k]) for k, v in before.items())


@pytest.mark.parametrize("name", ["~nobody-has-this-name/film.mp4", "~\0/film.mp4"])
def test_a_home_of_nobody_is_a_file_that_is_not_there(name: str) -> None:
    with pytest.raises(MienError):
        open_video(name)
    assert parse_spec(f"casme2={name}")[0] == "casme2"
