"""The command lines that `tools/attack.py` starts and kills; {0} is the folder of inputs, {1} that of results."""

from typing import Final

WRITING: Final = {
    "train": "train flow_images={0}/pictures --system ststnet --set epochs=2 --out {1}/m.safetensors",
    "benchmark": "benchmark flow_images={0}/pictures --system flow-svm --jobs 1 --out {1}/run",
    "benchmark spot": "benchmark casme_sq={0}/films --task spot --system flow-peaks --jobs 1 --out {1}/spot",
    "experiment": "experiment leaderboard flow_images={0}/pictures --only flow-svm --jobs 1 --out {1}/e",
    "report": "report {0}/run --html {1}/r.html",
    "score": "score {0}/answers.csv --truth flow_images={0}/pictures --html {1}/s.html",
    "synthesise": "synthesise --out {1}/c --subjects 1 --clips 2 --width 48 --fps 30 --faces drawn --jobs 1",
    "prepare": "prepare {0}/film.mkv --set transform=none --set flow=dis --cache {1}/cache --out {1}/in",
    "describe": "describe flow_images={0}/pictures --descriptor bi-woof --no-cache --jobs 1 --out {1}/a.csv",
    "magnify": "magnify {0}/film.mkv --out {1}/a.mkv",
    "flow": "flow {0}/film.mkv --interval 2:30:20 --method dis --out {1}/a.png",
    "combine": "combine {0}/run {0}/other --out {1}/both",
    "recognise": "recognise {0}/film.mkv --csv {1}/a.csv --html {1}/a.html --eaf {1}/a.eaf --json-file {1}/a.json",
    "recognise many": "recognise {0}/film.mkv {0}/again.mkv --jobs 1 --out {1}/all",
    "explain": "explain {0}/m.safetensors flow_images={0}/pictures --clip 001_001_0 --method gradient --out {1}/e",
    "export": "export {0}/m.safetensors --onnx {1}/m.onnx",
}
"""Commands that write, with inputs and outputs of theirs."""

READING: Final = {
    "spot": "spot {0}/film.mkv --json",
    "watch": "watch --file {0}/film.mkv --every-frame --json",
    "check": "check flow_images={0}/pictures --deep",
    "report": "report {0}/run {0}/other --json",
    "compare": "compare {0}/run {0}/other --json",
    "card": "card {0}/m.safetensors",
    "cache": "cache",
    **{
        name: name for name in ("datasets", "systems", "protocols", "spotters", "experiments", "recipes", "descriptors")
    },
}
"""Commands that print."""

KILLED: Final = {
    **WRITING,
    **{f"{name} alone": line for name, line in READING.items()},
    "serve": "serve --port 0 --json --runs {0}",
}
"""What is killed: every command."""

ONCE: Final = {"combine": "both", "export": "m.onnx"}
"""Commands that refuse to replace what they have finished, and what that is."""
