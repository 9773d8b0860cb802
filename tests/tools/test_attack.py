"""A small share of each attack; the long ones are run by hand and add up."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "attack.py"


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "count"), [("lines", 10), ("kills", 8), ("requests", 20), ("uploads", 4)])
def test_a_small_share_of_each_attack_finds_nothing_and_adds_up(kind: str, count: int, tmp_path: Path) -> None:
    """A process of its own, because it forks."""
    results = tmp_path / "attack.jsonl"
    results.write_text(json.dumps({"kind": kind, "first": 0, "count": 5000, "faults": []}) + "\n")
    words = [sys.executable, str(TOOL), kind, "--count", str(count), "--results", str(results)]
    told = subprocess.run(words, capture_output=True, text=True, timeout=600, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    last = json.loads(results.read_text().splitlines()[-1])
    assert (last["first"], last["count"], last["faults"]) == (5000, count, [])
