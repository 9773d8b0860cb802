"""Folds on Ray: the same ledger whatever happens to the machines. Several machines here are several Ray nodes."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from mien.cli.main import app
from mien.datasets import open_dataset
from mien.errors import MienError
from mien.evaluation import preparing
from mien.evaluation.execution import ray_executor, ray_tasks
from mien.evaluation.execution.processes import Processes
from mien.evaluation.execution.ray_connect import connect
from mien.evaluation.execution.ray_executor import RayExecutor
from mien.evaluation.execution.ray_tasks import Machine, StoredInputs, differences, this_machine
from mien.evaluation.experiments import grid
from mien.evaluation.experiments.catalogue import Experiment, GridRow
from mien.evaluation.planning import make_plan
from mien.evaluation.run import benchmark
from mien.preprocessing import FLOW_PICTURE
from mien.preprocessing.prepare import prepare
from mien.progress import Bars
from mien.synthesis.flow_images import write_flow_images

needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `cluster` is not installed")

FAST = {"epochs": 2, "maps": 4}
DIVERGES = {"epochs": 40, "lr": 100, "weight_decay": 100, "decay": "1"}
QUICK = {"C": [1.0], "gamma": [0.3], "inner_repeats": 1, "mirror": False}
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    write_flow_images(root, subjects=6, clips_per_subject=6, seed=0, layout="folders")
    return root


@pytest.fixture(scope="module")
def local() -> Iterator[RayExecutor]:
    with connect("local", jobs=2, patience=240) as cluster:
        try:
            cluster.begin()
        except MienError as error:
            if "did not start" not in error.found:
                raise
            pytest.skip("the machine is too busy for Ray's processes to find each other")
        yield cluster


def ledger_bytes(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "ledger").iterdir())}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# Without Ray


@pytest.mark.parametrize("address", ["", "here", "host", "host:", ":6379", "host:0", "host:70000", "ray://host:10001"])
def test_an_invalid_address_is_refused_before_anything_starts(address: str) -> None:
    with pytest.raises(MienError, match="address") as caught, connect(address):
        pass
    assert "--ray" in caught.value.fix


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MienError, match="not installed") as caught, connect("local"):
        pass
    assert "ray" in caught.value.fix


def test_folds_share_a_gpu_or_take_whole_ones() -> None:
    # GPUs of a machine, share of a fold, folds at once
    for gpus, share, folds in (
        (1, 0.25, 4), (2, 0.25, 8), (1, 0.3, 3), (4, 0.6, 4), (4, 1, 4), (4, 2, 2), (3, 2, 1), (0, 0.5, 0),
    ):  # fmt: skip
        assert ray_executor.fits(gpus, share) == folds


def test_differences_between_machines_are_named() -> None:
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
def test_the_ledger_is_that_of_a_run_without_ray(pictures: Path, tmp_path: Path, local: RayExecutor) -> None:
    data = [open_dataset("flow_images", pictures)]
    benchmark(data, "strcn-g", tmp_path / "ray", parameters=FAST, executor=local)
    benchmark(data, "strcn-g", tmp_path / "plain", parameters=FAST, jobs=1)
    assert ledger_bytes(tmp_path / "ray") == ledger_bytes(tmp_path / "plain")
    for name in ("run.json", "clips.csv"):
        assert (tmp_path / "ray" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()
    assert {p.name for p in (tmp_path / "ray" / "log").iterdir()} == {f"s0-f{n:04d}.json" for n in range(6)}
    assert not [p for p in (tmp_path / "ray").rglob("*") if "shared" in p.name]


@needs_ray
def test_nothing_listens_beyond_this_machine(local: RayExecutor) -> None:
    import ray

    ours = {os.getpid()} | _below(os.getpid())
    names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in ours}
    assert {"raylet", "gcs_server"} <= names
    listening = {address for pid in ours for address in _listening(pid)}
    assert listening
    assert {address for address in listening if not address.startswith("127.")} == set()
    assert ray.get_runtime_context().gcs_address.startswith("127.0.0.1:")


@needs_ray
def test_inputs_too_large_for_memory_go_through_the_object_store(
    pictures: Path, tmp_path: Path, local: RayExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = [open_dataset("flow_images", pictures)]
    plan = make_plan(data, "strcn-g", parameters=FAST)
    monkeypatch.setattr(preparing, "IN_MEMORY", 0)
    with Bars(show=False) as bars:
        ours = preparing.prepare_inputs(plan, local, bars)
        plain = preparing.prepare_inputs(plan, Processes(1), bars)
    assert isinstance(ours.inputs, StoredInputs)
    stored, cached = ours.inputs, plain.inputs
    assert (len(stored), stored.shape, stored.copies) == (len(cached), cached.shape, cached.copies)
    rows = np.array([5, 0, 5, 35])
    assert np.array_equal(stored[rows].take([3, 0, 0, 1]), cached[rows].take([3, 0, 0, 1]))
    assert ours.interval_sources == plain.interval_sources == ("ready",) * 36
    benchmark(data, "flow-svm", tmp_path / "ray", parameters=QUICK, executor=local)
    benchmark(data, "flow-svm", tmp_path / "plain", parameters=QUICK, jobs=1)
    assert ledger_bytes(tmp_path / "ray") == ledger_bytes(tmp_path / "plain")


@needs_ray
def test_a_clip_that_is_not_on_the_other_machine_is_prepared_on_this_one(
    pictures: Path, tmp_path: Path, local: RayExecutor, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = open_dataset("flow_images", pictures).clips()[:6]
    true_size = ray_tasks.size_of
    elsewhere = {clips[0].key, clips[4].key}
    # The worker compares with what it sees itself: another size is another file, or none.
    monkeypatch.setattr(ray_executor, "size_of", lambda c: (9, 9) if c.key in elsewhere else true_size(c))
    asked: list[str] = []
    here = ray_executor._on_this_machine

    def on_this_machine(task: Any, function: Any, given: tuple[Any, ...]) -> tuple[Any, Any]:
        asked.append(given[0].key)
        return here(task, function, given)

    monkeypatch.setattr(ray_executor, "_on_this_machine", on_this_machine)
    broken = replace(clips[5], name="gone", frames=(pictures / "gone.png",))
    told = prepare([*clips, broken], FLOW_PICTURE, out=tmp_path / "ray", executor=local)
    plain = prepare([*clips, broken], FLOW_PICTURE, out=tmp_path / "plain")
    assert set(asked) == {*elsewhere, broken.key}
    assert [replace(o, seconds=0) for o in told] == [replace(o, seconds=0) for o in plain]
    assert [o.key for o in told if o.error] == [broken.key]
    files = {p.relative_to(tmp_path / "ray"): p.read_bytes() for p in (tmp_path / "ray").rglob("*.npy")}
    assert files == {p.relative_to(tmp_path / "plain"): p.read_bytes() for p in (tmp_path / "plain").rglob("*.npy")}
    assert len(files) == 6


@needs_ray
def test_an_error_of_a_fold_is_raised_and_leaves_no_file(pictures: Path, tmp_path: Path, local: RayExecutor) -> None:
    data = [open_dataset("flow_images", pictures)]
    with pytest.raises(MienError, match="learning rate"):
        benchmark(data, "strcn-g", tmp_path, parameters={**FAST, **DIVERGES}, executor=local)
    assert not list((tmp_path / "unfinished").iterdir())


@needs_ray
def test_cells_of_an_experiment_run_side_by_side(pictures: Path, tmp_path: Path, local: RayExecutor) -> None:
    rows = (
        GridRow("One", "flow-svm", QUICK),
        GridRow("Two", "flow-svm", {**QUICK, "C": [3.0]}),
        GridRow("Three", "no-such-system"),
    )
    chosen = Experiment("tiny", "Tiny", "-", "-", ("loso",), "megc2019", rows)
    data = [open_dataset("flow_images", pictures)]
    ours = grid.experiment(chosen, data, tmp_path / "ray", executor=local)
    plain = grid.experiment(chosen, data, tmp_path / "plain", jobs=1)
    assert [(c.row.name, c.protocol, c.why) for c in ours] == [(c.row.name, c.protocol, c.why) for c in plain]
    for a, b in zip(ours, plain, strict=True):
        if a.result is not None:
            assert ledger_bytes(a.run) == ledger_bytes(b.run)
    assert sum(c.result is not None for c in ours) == 2


def test_the_command_line_answers_in_three_parts(pictures: Path, tmp_path: Path) -> None:
    def typed(*words: str) -> MienError:
        outcome = CliRunner().invoke(app, ["benchmark", f"flow_images={pictures}", "--out", str(tmp_path), *words])
        assert isinstance(outcome.exception, MienError), outcome
        return outcome.exception

    svm = ("--system", "flow-svm")
    assert "no address" in typed(*svm, "--ray", "here").found
    assert "--ray local" in typed(*svm, "--gpus-per-fold", "0.5").fix
    assert "spot" in typed("--system", "flow-peaks", "--task", "spot", "--ray", "local").found
    assert not list(tmp_path.iterdir())


@needs_ray
def test_an_address_where_nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # other tests may have left theirs on
    with pytest.raises(MienError, match="no Ray cluster") as caught, connect(f"127.0.0.1:{free_port()}") as cluster:
        cluster.begin()
    assert "--ray local" in caught.value.fix


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
            target = str(link.readlink())
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
