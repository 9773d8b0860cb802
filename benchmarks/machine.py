"""Where and on what a figure was measured."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
from pathlib import Path


def commit() -> str:
    """Short hash of the commit, with a plus sign when files differ from it."""
    here = Path(__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=here, capture_output=True, text=True, check=False).stdout.strip()

    return (git("rev-parse", "--short", "HEAD") or "none") + (
        "+" if git("status", "--porcelain", "--", "../src") else ""
    )


def machine() -> str:
    """Processor, cores and versions, in one line."""
    model = "unknown processor"
    info = Path("/proc/cpuinfo")
    if info.is_file():
        names = [
            line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        model = names[0] if names else model
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{model}, {cores} cores, Python {platform.python_version()}, torch {torch.__version__}"


def peak_mib() -> float:
    """Peak memory of this process alone; what `resource` tells includes the parent's where the system forks."""
    status = Path("/proc/self/status")
    if status.is_file():
        return int(status.read_text().split("VmHWM:")[1].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
