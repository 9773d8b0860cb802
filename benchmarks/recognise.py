"""How fast `mien recognise` is, part by part, and whether its memory grows with the length of the video.

python benchmarks/recognise.py [--seconds 30] [--long 300] [--beside FOLDER [--turns 3]] [--out FILE]

Films are 640x480 at 100 frames per second, H.264, a drawn face with micro-expressions. Each run is a process of its
own, so that its peak memory is its own. Beside the time that passed stands the processor time, which other programs on
the machine do not lengthen. `--beside` names the `src` folder of another checkout, with which this one takes turns on
the short film.
"""

from __future__ import annotations

import argparse
import datetime
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
from machine import commit, machine, peak_mib
from measure import ratio
from numpy.typing import NDArray

FPS = 100
SIZE = (480, 640)
PERIOD = 10  # seconds after which the film repeats itself, one expression in each; --seconds is a multiple


def film(seconds: int) -> Iterator[NDArray[np.uint8]]:
    """(480, 640, 3) frames of a drawn face that smiles for a third of a second every ten seconds."""
    from mien.synthesis.drawn_face import draw_face, features_of
    from mien.synthesis.moving_face import motion_of

    side, rng = 440, np.random.default_rng(0)
    still = draw_face(features_of(7), side)
    moved = motion_of(7, "positive", interval_length=3, apex=1, size=side, seed=1)[1]
    field = moved - moved[0, 0]
    grid = np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1).astype(np.float32)
    noise = [3 * rng.standard_normal((*SIZE, 3), np.float32) for _ in range(16)]
    faces = []
    for t in range(34):
        amount = np.float32(0.5 - 0.5 * np.cos(2 * np.pi * t / 33))
        source = grid - field * amount
        faces.append(cv2.remap(still, source[..., 0], source[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE))
    frame = np.full((*SIZE, 3), 130, np.float32)
    for t in range(seconds * FPS):
        at = t % (PERIOD * FPS) - 5 * FPS
        frame[40:, 100:540] = faces[at if 0 <= at < 34 else 0]
        # Whole rows are moved: a head sways by a pixel or two.
        sway = round(1.5 * np.sin(2 * np.pi * t / (7 * FPS)))
        yield np.clip(np.roll(frame, sway, 1) + noise[t % 16] + 0.5, 0, 255).astype(np.uint8)


def repeated(path: Path, times: int, out: Path) -> Path:
    """The film several times over; its packets are copied, so that an hour is made in a moment."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        packets = [packet for packet in source.demux(stream) if packet.dts is not None]
        assert stream.time_base is not None
        length = round(stream.frames / FPS / stream.time_base)
        for turn in range(times):
            for packet in packets:
                again = av.Packet(bytes(packet))
                assert packet.pts is not None
                assert packet.dts is not None
                again.pts, again.dts = packet.pts + turn * length, packet.dts + turn * length
                again.duration, again.time_base = packet.duration, packet.time_base
                again.is_keyframe, again.stream = packet.is_keyframe, copy
                target.mux(again)
    return out


def one(path: Path, weights: Path, what: str) -> None:
    """Prints seconds that passed, processor seconds, frames, intervals and MiB of one run."""
    import torch

    torch.set_num_threads(2)
    from mien.io.video import open_video
    from mien.recognition import recognise
    from mien.recognition.live import watch
    from mien.recognition.naming import open_namer

    namer = open_namer(weights)
    began, worked = time.perf_counter(), time.process_time()
    if what == "decoding":
        frames, events = sum(1 for _ in open_video(path).frames(grey=True)), 0
    elif what == "watch":
        states = list(watch(open_video(path), namer, real_time=False))
        frames, events = states[-1].n_frames, sum(len(state.events) for state in states)
    else:
        answer = recognise(path, namer)
        frames, events = answer.video.n_frames, len(answer.events)
    print(time.perf_counter() - began, time.process_time() - worked, frames, events, peak_mib())


def measured(path: Path, weights: Path, what: str, source: Path | None = None) -> tuple[float, float, int, int, float]:
    """The same in another process, with the package in another folder if one is given."""
    words = [sys.executable, __file__, "--one", str(path), str(weights), what]
    surroundings = dict(os.environ, PYTHONPATH=str(source)) if source else None
    ran = subprocess.run(words, capture_output=True, text=True, check=True, env=surroundings)
    took, worked, frames, events, memory = ran.stdout.split()
    return float(took), float(worked), int(frames), int(events), float(memory)


def compared(path: Path, weights: Path, source: Path, turns: int) -> str:
    """How much longer another checkout takes for the same film, in turn."""
    own, other = zip(
        *((measured(path, weights, "recognise"), measured(path, weights, "recognise", source)) for _ in range(turns)),
        strict=True,
    )
    passed, worked = (ratio([[run[column] for run in runs] for runs in (own, other)]) for column in (0, 1))
    found = " and ".join(str(runs[0][3]) for runs in (own, other))
    return (
        f"\nThe checkout beside it takes {passed} times as long, {worked} times the processor time; intervals: {found}."
    )


def chance(path: Path) -> Path:
    """Weights of a network that has seen noise: speed does not depend on what it knows."""
    from mien.classifiers.checkpoint import ModelCard, save_checkpoint
    from mien.systems import system

    chosen = system("strcn-g")
    parameters = chosen.with_parameters({"epochs": "1"})
    classifier: Any = chosen.build(3, parameters)
    x = np.random.default_rng(0).standard_normal((6, 3, 28, 28)).astype(np.float32)
    classifier.fit(x, np.arange(6) % 3, [("noise", str(n)) for n in range(6)])
    classes = ("negative", "positive", "surprise")
    save_checkpoint(
        path, classifier, ModelCard("strcn-g", parameters.model_dump(mode="json"), classes, "-", (), {}, (3, 28, 28), 0)
    )
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--long", type=int, default=300)
    parser.add_argument("--beside", type=Path)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", nargs=3)
    given = parser.parse_args()
    if given.one:
        one(Path(given.one[0]), Path(given.one[1]), given.one[2])
        return
    from mien.io.video import write_video

    with tempfile.TemporaryDirectory() as folder:
        weights = chance(Path(folder) / "chance.safetensors")
        short = write_video(Path(folder) / "short.mp4", film(given.seconds), FPS)
        turns = max(1, round(given.long / given.seconds))
        long = repeated(short, turns, Path(folder) / "long.mp4")
        given.long = turns * given.seconds
        rows = [
            ("decoding alone", given.seconds, measured(short, weights, "decoding")),
            ("watch, every frame", given.seconds, measured(short, weights, "watch")),
            ("recognise", given.seconds, measured(short, weights, "recognise")),
            ("recognise", given.long, measured(long, weights, "recognise")),
        ]
        beside = [compared(short, weights, given.beside.resolve(), given.turns)] if given.beside else []
    lines = [
        "# From a video to an answer: speed and memory",
        "",
        f"{datetime.date.today()}, commit {commit()}, {machine()}.",
        "Film: 640x480, 100 frames per second, H.264, one micro-expression every ten seconds.",
        "Real-time factor: seconds of film per second; above 1 is faster than it plays.",
        "",
        "| what | film, s | real-time factor | by processor time of one core | ms of processor per frame | intervals | "
        "peak MiB |",
        "|---|---|---|---|---|---|---|",
    ]
    for what, seconds, (took, worked, frames, events, memory) in rows:
        lines.append(
            f"| {what} | {seconds} | {seconds / took:.2f} | {seconds / worked:.2f} | {1000 * worked / frames:.2f} | "
            f"{events} | {memory:.0f} |"
        )
    growth = rows[3][2][4] / rows[2][2][4] - 1
    lines += [
        "",
        f"Memory of the {given.long} s film against that of the {given.seconds} s film: {growth:+.1%}.",
        *beside,
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if given.out:
        given.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
