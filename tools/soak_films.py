"""Forty films in one command, killed twice at random moments: the tables are those of a run that was left alone.

python tools/soak_films.py [--films 40] [--kills 2] [--jobs 1] [--files json] [--out tools/results/soak_films.md]

Small films are written: faces that move once, films without a face, folders of pictures, two films of one name, and one
file that is no film. `mien recognise ... --out` answers them once without a kill. Then once more into another folder,
where the whole process group is killed (SIGKILL) after a random number of films, at a random moment of the next, and
the same command follows until it ends. Compared byte for byte: events.csv and films.csv; and which films the last
command had to answer.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

sys.path.append(str(Path(__file__).resolve().parents[1] / "benchmarks"))
sys.path.append(str(Path(__file__).resolve().parents[1] / "tests" / "recognition"))
import played
from machine import stamp

from mien.io.video import write_video

MARKER = "films/*/.film.json"


def write_films(folder: Path, n: int) -> list[Path]:
    """Write n small films."""
    films = []
    for number in range(n):
        place = folder / ("second" if number == 1 else "first")
        name = "film0" if number == 1 else f"film{number}"  # two of one name
        place.mkdir(parents=True, exist_ok=True)
        kind = number % 10
        if number == 2:
            path = place / f"{name}.mp4"
            path.write_text("no film\n" * 100)
        elif kind == 8:
            path = write_video(place / f"{name}.mkv", [np.full((64, 64), 128, np.uint8)] * 20, 100)
        else:
            parts = [(30, 40, 52, ("positive", "negative", "surprise")[number % 3])]
            frames = played.film(41 + number % 3, 90, parts, seed=number)
            if kind == 9:
                path = place / name
                path.mkdir()
                for index, frame in enumerate(frames):
                    cv2.imwrite(str(path / f"{index:03d}.png"), frame)
            else:
                path = write_video(place / f"{name}.mkv", frames, 100)
        films.append(path)
    return films


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--films", type=int, default=40)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--files", default="json")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        films = write_films(folder / "films", options.films)
        (folder / "films.txt").write_text("".join(f"{path}\n" for path in films))
        weights = played.chance_weights(folder / "w.safetensors")

        def command(out: Path) -> list[str]:
            words = ["recognise", f"@{folder / 'films.txt'}", "--out", str(out), "--jobs", str(options.jobs)]
            words += ["--files", options.files, "--weights", str(weights), "--fps", "100", "--json"]
            return [sys.executable, "-c", "from mien.cli.main import main; main()", *words]

        began = time.monotonic()
        whole, killed = folder / "whole", folder / "killed"
        code = subprocess.run(command(whole), stdout=subprocess.DEVNULL, check=False).returncode
        alone = time.monotonic() - began
        answered = len(list(whole.glob(MARKER)))
        lines = [f"| left alone | {answered} of {len(films)} films answered, exit status {code}, {alone:.0f} s |"]
        for number in range(options.kills):
            process = subprocess.Popen(command(killed), stdout=subprocess.DEVNULL, start_new_session=True)
            # After a random number of films of those that are left, at a random moment of the next.
            before = len(list(killed.glob(MARKER)))
            wanted = before + rng.randint(1, max(1, (answered - before) // 2))
            while process.poll() is None and len(list(killed.glob(MARKER))) < wanted:
                time.sleep(0.02)
            time.sleep(rng.uniform(0, alone / len(films)))
            ended = process.poll() is not None
            if not ended:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            after, left = len(list(killed.glob(MARKER))), len(list(killed.rglob("*.part")))
            what = "too late" if ended else f"{after} films answered, {left} half-written files"
            lines.append(f"| kill {number + 1} | {what} |")
        times = {path: path.stat().st_mtime_ns for path in killed.glob(MARKER)}
        again = subprocess.run(command(killed), stdout=subprocess.DEVNULL, check=False).returncode
        kept = sum(path.stat().st_mtime_ns == when for path, when in times.items())
        left = len(list(killed.rglob("*.part")))
        lines.append(
            f"| resumed | exit status {again}, {kept} of {len(times)} answers kept, {left} half-written files |"
        )
        tables = ("events.csv", "films.csv")
        wrong = [name for name in tables if (whole / name).read_bytes() != (killed / name).read_bytes()]
        rows = (whole / "events.csv").read_text().count("\n") - 1
        verdict = f"{', '.join(wrong)} DIFFER" if wrong else "both tables are the same, byte for byte"
        lines.append(f"| tables | {rows} expressions; {verdict} |")
    text = "\n".join(["| | |", "|---|---|", *lines])
    print(text)
    if options.out:
        words = " ".join(f"--{key} {getattr(options, key)}" for key in ("films", "kills", "seed", "jobs", "files"))
        title = f"# {options.films} films killed and resumed\n\n`python tools/soak_films.py {words}`\n\n{stamp()}\n\n"
        options.out.write_text(title + text + "\n")
    sys.exit(bool(wrong) or code != again)


if __name__ == "__main__":
    main()
