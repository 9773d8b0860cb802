"""How many seconds of CPU a command takes before it does anything: the interpreter, imports, and the answer.

python benchmarks/start.py [--turns 15] [--beside FOLDER] [--out benchmarks/results/start.md]

Every command runs in a process of its own, in turn, with compiled modules at hand. `--beside` names the `src` folder of
another checkout, which is measured in the same turns.
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from machine import stamp
from measure import arguments, publish, ratio

import mien
from mien.synthesis.flow_images import write_flow_images

COMMAND = "from mien.cli.main import main; main()"
WAYS: dict[str, tuple[str, ...]] = {
    "python alone": ("-c", "pass"),
    "import numpy": ("-c", "import numpy"),
    "import mien": ("-c", "import mien"),
    "mien --help": ("-c", COMMAND, "--help"),
    "mien systems": ("-c", COMMAND, "systems"),
    "mien datasets": ("-c", COMMAND, "datasets"),
    "mien recognise --help": ("-c", COMMAND, "recognise", "--help"),
    "mien benchmark, strcn-g, 12 pictures": (
        *("-c", COMMAND, "benchmark", "flow_images={pictures}", "--system", "strcn-g"),
        *("--set", "epochs=1", "--jobs", "1", "--out", "{out}"),
    ),
}


def cpu_seconds(words: tuple[str, ...], source: Path, compiled: Path, pictures: Path) -> float:
    """Seconds of CPU of one process."""
    surroundings = dict(os.environ, PYTHONPATH=str(source), PYTHONPYCACHEPREFIX=str(compiled))
    surroundings.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory() as out:
        filled = [word.replace("{pictures}", str(pictures)).replace("{out}", f"{out}/run") for word in words]
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *filled], env=surroundings, stdout=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--beside", type=Path, help="the src folder of another checkout")
    given = parser.parse_args()
    sources = [Path(mien.__file__).resolve().parents[1], *([given.beside.resolve()] if given.beside else [])]
    taken: dict[str, list[list[float]]] = {name: [[] for _ in sources] for name in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        pictures = Path(folder) / "pictures"
        write_flow_images(pictures, subjects=4, clips_per_subject=3)
        for turn in range(given.turns + 1):
            for name, words in WAYS.items():
                for number, source in enumerate(sources):
                    seconds = cpu_seconds(words, source, Path(folder) / str(number), pictures)
                    if turn:  # the first compiles
                        taken[name][number].append(seconds)
    head = "| what | CPU s, median | least to most |"
    lines = [
        "# Starting",
        "",
        "Seconds of CPU, user and system, of a whole process. " + stamp(),
        "",
        head + (" beside | times |" if given.beside else ""),
        "|---|---|---|" + ("---|---|" if given.beside else ""),
    ]
    for name, found in taken.items():
        own = found[0]
        row = f"| `{name}` | {statistics.median(own):.3f} | {min(own):.3f} to {max(own):.3f} |"
        if given.beside:
            row += f" {statistics.median(found[1]):.3f} | {ratio(found)} |"
        lines.append(row)
    publish(lines, given.out)


if __name__ == "__main__":
    main()
