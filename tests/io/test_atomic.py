"""Files that are written at once, and what killed processes leave of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mien.io.atomic import UNFINISHED, replaced, require_writable_file

KILLED = """
import os, signal, sys
from pathlib import Path
from mien.io.atomic import replaced
with replaced(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals and locks of POSIX")
def test_what_a_killed_process_left_is_deleted_and_what_a_living_one_writes_is_not(tmp_path: Path) -> None:
    out, other = tmp_path / "a.mp4", tmp_path / "b.mp4"
    for path in (out, other):
        subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    dead = {path.name.split("-")[0]: path for path in tmp_path.glob(f".*{UNFINISHED}")}
    assert len(dead) == 2
    with replaced(out) as living:
        living.write_text("whole")
        for path in (living, *dead.values()):
            os.utime(path, (0, 0))
        require_writable_file(out, "`--out`.")
        assert living.exists()
        assert not dead[".a.mp4"].exists()
        assert dead[".b.mp4"].exists()  # of another file, which is for another command to delete
    assert out.read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".a")] == []


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
def test_an_unfinished_file_that_was_begun_just_now_is_left_alone(tmp_path: Path) -> None:
    begun = tmp_path / f".a.mp4-x{UNFINISHED}"
    begun.write_text("")
    require_writable_file(tmp_path / "a.mp4", "`--out`.")
    assert begun.exists()
