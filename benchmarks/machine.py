"""Where, when and on what a figure was measured."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import re
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path


def commit() -> str:
    """Short hash of the commit, with a plus sign when files differ from it; "none" where there is no git."""
    here = Path(__file__).parent

    if shutil.which("git") is None:
        return "none"

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=False).stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "none") + (
        "+" if git("status", "--porcelain", "--", "../src") else ""
    )


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """Name of the processor."""
    info = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*:\s*(.+)", info.read_text()) if info.is_file() else None
    return named.group(1).strip() if named else platform.processor() or "unknown processor"


def machine() -> str:
    """Processor, cores and versions, in one line."""
    torch = importlib.metadata.version("torch")
    return f"{processor()}, {cores()} cores, Python {platform.python_version()}, torch {torch}"


def stamp() -> str:
    """Machine, commit and day, as the second line of a page of results."""
    return f"{machine()}; commit {commit()}; {datetime.date.today():%Y-%m-%d}."


def resident_mib(what: str = "VmRSS") -> float:
    """Memory of this process alone: "VmRSS" now, "VmHWM" at most so far.

    What `resource` tells, for systems without /proc, includes the parent's memory where a process was forked.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return int(status.read_text().split(f"{what}:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def peak_mib() -> float:
    """Peak memory of this process alone."""
    return resident_mib("VmHWM")


def taken_by_others(seconds: float = 0.5) -> float:
    """Share of all processor time that is used while this program waits; 0 where the system does not tell."""

    def ticks() -> tuple[int, int]:
        values = [int(v) for v in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(values), values[3] + values[4]

    if not Path("/proc/stat").is_file():
        return 0.0
    time.sleep(0.3)  # Idle worker threads spin a little before they sleep.
    total, idle = ticks()
    time.sleep(seconds)
    total_after, idle_after = ticks()
    return 1 - (idle_after - idle) / max(total_after - total, 1)
