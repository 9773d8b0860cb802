"""Several Ray nodes on this machine: nodes die, the command dies, and the ledger is the same. Minutes, so slow."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mien.datasets import open_dataset
from mien.errors import MienError
from mien.evaluation.execution import ray_connect
from mien.evaluation.execution.ray_connect import PREFIX, connect
from mien.evaluation.run import benchmark
from mien.synthesis.flow_images import write_flow_images

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="the extra `cluster` is not installed"),
]

ROOT = Path(__file__).resolve().parents[3]
SETTINGS = {"epochs": 60, "maps": 8}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    write_flow_images(root, subjects=8, clips_per_subject=6, seed=0, layout="folders")
    return root


@pytest.fixture(scope="module")
def plain(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("plain") / "run"
    benchmark([open_dataset("flow_images", pictures)], "strcn-g", out, parameters=SETTINGS, jobs=1)
    return ledger_bytes(out)


def ledger_bytes(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((run / "ledger").iterdir())}


def folds_done(run: Path) -> int:
    return len(list((run / "ledger").glob("*.csv")))


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A head without processors, to which nodes are added; all of it on 127.0.0.1."""
    with tempfile.TemporaryDirectory(prefix="ray-test-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "ray").mkdir()
        monkeypatch.setenv("RAY_TMPDIR", folder)
        ray_connect._guard()  # before Ray is first imported
        from ray.cluster_utils import Cluster

        cluster: Any = Cluster()
        try:
            cluster.add_node(num_cpus=0, node_ip_address="127.0.0.1", include_dashboard=False)
            yield cluster
        finally:
            cluster.shutdown()


def test_a_machine_that_dies_in_mid_run_costs_no_row(
    machines: Any, pictures: Path, plain: dict[str, bytes], tmp_path: Path
) -> None:
    nodes = [machines.add_node(num_cpus=1, num_gpus=1, node_ip_address="127.0.0.1") for _ in range(3)]
    killed_after: list[int] = []

    def kill() -> None:
        wait_until(lambda: folds_done(tmp_path / "run") >= 1, 500)
        killed_after.append(folds_done(tmp_path / "run"))
        machines.remove_node(nodes[0], allow_graceful=False)

    killer = threading.Thread(target=kill)
    killer.start()
    with connect(machines.address, gpus_per_fold=0.5) as cluster:
        assert cluster.places == 3
        benchmark(
            [open_dataset("flow_images", pictures)], "strcn-g", tmp_path / "run", parameters=SETTINGS, executor=cluster
        )
        killer.join()
        assert cluster.places == 2
    assert 1 <= killed_after[0] <= 6  # of eight, at three places: the node was at work
    assert ledger_bytes(tmp_path / "run") == plain


def test_a_share_of_a_gpu_that_no_machine_has(machines: Any) -> None:
    machines.add_node(num_cpus=1, num_gpus=1, node_ip_address="127.0.0.1")
    with connect(machines.address, gpus_per_fold=2) as cluster, pytest.raises(MienError, match="the most is 1 GPUs"):
        cluster.begin()


def test_a_machine_with_another_mien_is_refused(machines: Any, tmp_path: Path) -> None:
    import mien

    other = tmp_path / "other" / "mien"
    shutil.copytree(Path(mien.__file__).parent, other, ignore=shutil.ignore_patterns("__pycache__", "*.safetensors"))
    for version, words in (('__version__ = "9.9.9"', "mien 9.9.9 "), (None, "other code")):
        file = other / ("__init__.py" if version else "files.py")
        text = file.read_text()
        if version:
            assert f'__version__ = "{mien.__version__}"' in text
        changed = text.replace(f'__version__ = "{mien.__version__}"', version) if version else text + "\n# another\n"
        file.write_text(changed)
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = str(other.parent)
        try:
            node = machines.add_node(num_cpus=1, node_ip_address="127.0.0.1")
        finally:
            if before is None:
                del os.environ["PYTHONPATH"]
            else:
                os.environ["PYTHONPATH"] = before
        with connect(machines.address) as cluster, pytest.raises(MienError, match=words):
            cluster.begin()
        machines.remove_node(node)
        file.write_text(text)


COMMAND = """
import sys
from pathlib import Path
from mien.evaluation.execution.ray_connect import connect
from mien.evaluation.run import benchmark
from mien.datasets import open_dataset
with connect("local", jobs=2) as cluster:
    benchmark([open_dataset("flow_images", Path(sys.argv[1]))], "strcn-g", Path(sys.argv[2]),
              parameters={"epochs": 60, "maps": 8}, executor=cluster)
"""


def test_a_command_that_is_killed_leaves_nothing_running_and_goes_on(
    pictures: Path, plain: dict[str, bytes], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", COMMAND, str(pictures), str(run)])
    wait_until(lambda: folds_done(run) >= 1 or process.poll() is not None, 500)
    folder = next(Path(tempfile.gettempdir()).glob(f"{PREFIX}{process.pid}-*"))
    assert folder.stat().st_mode & 0o777 == 0o700
    ours = processes_of(folder)
    assert ours
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert folds_done(run) < 8
    wait_until(lambda: not processes_of(folder), 120)
    subprocess.run([sys.executable, "-c", COMMAND, str(pictures), str(run)], check=True)
    assert ledger_bytes(run) == plain
    assert not folder.exists()


def processes_of(folder: Path) -> list[int]:
    """Processes that were told of a folder."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def test_an_address_where_something_else_listens() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        connect(f"127.0.0.1:{server.getsockname()[1]}", patience=10) as cluster,
        pytest.raises(MienError, match="no Ray cluster"),
    ):
        cluster.begin()


SRUN = """#!/bin/bash
# Stands in for SLURM's: the step runs here, as often as there are nodes.
n=1
while [[ $1 == --* ]]; do [[ $1 == --nodes=* ]] && n=${1#--nodes=}; shift; done
for _ in $(seq "$n"); do "$@" & done
trap 'kill $(jobs -p); wait' TERM
wait
"""


def test_the_sbatch_script_runs_a_benchmark_on_nodes(pictures: Path, plain: dict[str, bytes], tmp_path: Path) -> None:
    """With stand-ins for what SLURM gives; the three nodes are this machine, three times."""
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    for name, text in {
        "srun": SRUN,
        "scontrol": '#!/bin/bash\nprintf "%s\\n" node1 node2 node3\n',
        "hostname": "#!/bin/bash\necho 127.0.0.1\n",
    }.items():
        (bin_folder / name).write_text(text)
        (bin_folder / name).chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{bin_folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SLURM_JOB_ID": str(os.getpid()),
        "SLURM_JOB_NODELIST": "node[1-3]",
        "SLURM_CPUS_PER_TASK": "1",
    }
    for name in [name for name in environment if name.startswith("RAY_")]:
        del environment[name]
    words = ["benchmark", f"flow_images={pictures}", "--system", "strcn-g", "--out", str(tmp_path / "run"), "--json"]
    words += [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    # A network of its own: a node of a cluster listens on all that there is.
    alone = ["unshare", "--net", "bash", "-c", 'ip link set lo up && exec "$@"', "-"]
    try:
        subprocess.run([*alone, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no network namespace can be made here")
    command = ["bash", str(ROOT / "examples" / "slurm.sbatch"), *words]
    subprocess.run([*alone, *command], env=environment, check=True, timeout=580)
    assert ledger_bytes(tmp_path / "run") == plain
    assert not list(Path("/tmp").glob(f"mien-{os.getpid()}-*"))
