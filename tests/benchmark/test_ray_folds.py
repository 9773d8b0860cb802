"""Folds on Ray: the same ledger whatever happens to the machines. Several machines here are several Ray nodes."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.benchmark import ray_folds, run
from mien.benchmark.ledger import read_ledger
from mien.benchmark.ray_folds import Machine, RayCluster, connect, differences, this_machine
from mien.benchmark.run import benchmark
from mien.datasets import open_dataset
from mien.datasets.flow_images import write_flow_images
from mien.errors import MienError

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `cluster` is not installed")

FAST = {"epochs": 2, "maps": 4}
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    write_flow_images(root, subjects=6, clips_per_subject=6, seed=0, layout="folders")
    return root


@pytest.fixture(scope="module")
def local() -> Iterator[RayCluster]:
    with connect("local", jobs=2) as cluster:
        yield cluster


def ledger_bytes(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "ledger").iterdir())}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# Without Ray


@pytest.mark.parametrize("address", ["", "here", "host", "host:", ":6379", "host:0", "host:70000", "ray://host:10001"])
def test_what_is_no_address_is_said_before_anything_starts(address: str) -> None:
    with pytest.raises(MienError, match="address") as caught, connect(address):
        pass
    assert "--ray" in caught.value.fix


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MienError, match="not installed") as caught, connect("local"):
        pass
    assert "mien[cluster]" in caught.value.fix


def test_folds_share_a_gpu_or_take_whole_ones() -> None:
    # (GPUs of a machine, share of a fold) to folds at once
    for (gpus, share), folds in {
        (1, 0.25): 4, (2, 0.25): 8, (1, 0.3): 3, (4, 0.6): 4, (4, 1): 4, (4, 2): 2, (3, 2): 1, (0, 0.5): 0, (1, 0.1): 10,
    }.items():  # fmt: skip
        assert ray_folds._fits(gpus, share) == folds


def test_what_another_machine_runs_is_told() -> None:
    here = this_machine()
    assert differences(here, here) == ""
    assert here.versions["Python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    other = Machine({**here.versions, "mien": "9.9", "torch": "1.0"}, here.code)
    assert differences(other, here).startswith("mien 9.9 (here ")
    assert "torch 1.0 (here 2" in differences(other, here)
    without = Machine({k: v for k, v in here.versions.items() if k != "scipy"}, here.code)
    assert "scipy missing (here 1" in differences(without, here)
    assert "other code" in differences(replace(here, code="0"), here)


# On this machine


def test_the_sbatch_script_is_sound_bash() -> None:
    subprocess.run(["bash", "-n", str(ROOT / "examples" / "slurm.sbatch")], check=True)


@needs_ray
def test_the_ledger_is_that_of_a_run_without_ray(pictures: Path, tmp_path: Path, local: RayCluster) -> None:
    data = [open_dataset("flow_images", pictures)]
    benchmark(data, "strcn-g", tmp_path / "ray", parameters=FAST, cluster=local)
    benchmark(data, "strcn-g", tmp_path / "plain", parameters=FAST, jobs=1)
    assert ledger_bytes(tmp_path / "ray") == ledger_bytes(tmp_path / "plain")
    for name in ("run.json", "clips.csv"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    assert {p.name for p in (tmp_path / "ray" / "log").iterdir()} == {f"s0-f{n:04d}.json" for n in range(6)}
    assert not [p for p in (tmp_path / "ray").rglob("*") if "shared" in p.name]


@needs_ray
def test_nothing_listens_beyond_this_machine(local: RayCluster) -> None:
    import ray

    ours = {os.getpid()} | _below(os.getpid())
    names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in ours}
    assert {"raylet", "gcs_server"} <= names
    listening = {address for pid in ours for address in _listening(pid)}
    assert listening
    assert {address for address in listening if not address.startswith("127.")} == set()
    assert ray.get_runtime_context().gcs_address.startswith("127.0.0.1:")


def _below(pid: int) -> set[int]:
    """Every process that descends from one."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            children.setdefault(int(path.read_text().rpartition(")")[2].split()[1]), []).append(int(path.parent.name))
        except OSError:
            continue
    found, new = set[int](), [pid]
    while new:
        new = [child for parent in new for child in children.get(parent, [])]
        found.update(new)
    return found


def _listening(pid: int) -> set[str]:
    """Addresses that a process listens on."""
    sockets = set()
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith("socket:["):
            sockets.add(target[8:-1])
    found = set()
    for table, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            local, _, state, *_, inode = line.split()[1:10]
            if state == "0A" and inode in sockets:
                words = bytes.fromhex(local.split(":")[0])
                packed = b"".join(words[i : i + 4][::-1] for i in range(0, len(words), 4))
                found.add(socket.inet_ntop(family, packed).removeprefix("::ffff:"))
    return found
