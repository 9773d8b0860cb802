"""Ready features of clips, in every form, and a run on them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from scipy.io import savemat
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mien.datasets import open_dataset, open_specs
from mien.datasets.features import Features, features_of
from mien.errors import MienError
from mien.evaluation.report import report
from mien.evaluation.run import benchmark
from mien.preprocessing.cache import source_digest
from mien.systems import estimator_system

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
N, D = 24, 5
NAMES = [(f"{n % 4:02d}", f"EP{n:02d}_01", ("happiness", "disgust")[n % 3 == 0]) for n in range(N)]


def values() -> np.ndarray:
    """Features that tell the two classes apart, whoever the subject is."""
    random = np.random.default_rng(0)
    table = random.normal(size=(N, D)).astype(np.float32)
    table[:, 2] += [4.0 * (emotion == "disgust") for _, _, emotion in NAMES]
    return table.round(3)


def one_csv(folder: Path) -> Path:
    lines = ["subject,clip,emotion," + ",".join(f"f{n}" for n in range(D))]
    lines += [",".join([*names, *map(str, row.tolist())]) for names, row in zip(NAMES, values(), strict=True)]
    (folder / "all.csv").write_text("\n".join(lines), encoding="utf-8")
    return folder


def beside(folder: Path) -> None:
    lines = ["subject,clip,emotion", *(",".join(names) for names in NAMES)]
    (folder / "clips.csv").write_text("\n".join(lines), encoding="utf-8")


def mat_and_clips(folder: Path) -> Path:
    savemat(folder / "feature.mat", {"feature": values().T.astype(float)})
    beside(folder)
    return folder


def npz(folder: Path) -> Path:
    subjects, clips, emotions = (np.array(each) for each in zip(*NAMES, strict=True))
    np.savez(folder / "all.npz", features=values(), subject=subjects, clip=clips, emotion=emotions)
    return folder


def numbers_and_clips(folder: Path) -> Path:
    np.savetxt(folder / "numbers.csv", values(), delimiter=",")
    beside(folder)
    return folder


def parquet(folder: Path) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    written = pytest.importorskip("pyarrow.parquet")
    columns = dict(zip(("subject", "clip", "emotion"), map(list, zip(*NAMES, strict=True)), strict=True))
    columns |= {f"f{n}": values()[:, n].tolist() for n in range(D)}
    written.write_table(pyarrow.table(columns), folder / "all.parquet")
    return folder


@pytest.mark.parametrize("write", [one_csv, mat_and_clips, npz, numbers_and_clips, parquet])
def test_every_form_gives_the_same_clips_and_numbers(write: Callable[[Path], Path], tmp_path: Path) -> None:
    clips = open_dataset("features", write(tmp_path)).clips()
    assert [(c.subject, c.name, c.emotion) for c in clips] == NAMES
    assert {(c.medium, c.dataset) for c in clips} == {("features", "features")}
    assert np.allclose(np.stack([features_of(c) for c in clips]), values(), atol=1e-6)
    assert len({source_digest(c) for c in clips}) == N


def sheet(path: Path) -> Path:
    book = openpyxl.Workbook()
    page = book.worksheets[0]
    page.append(["Subject", "Filename", "", "OnsetFrame", "ApexFrame", "OffsetFrame", "", "Action Units",
                 "Estimated Emotion"])  # fmt: skip
    for n, (subject, clip, emotion) in enumerate(NAMES):
        page.append([subject, clip, "", 10 + n, 20 + n, 30 + n, "", "4", emotion])
    book.save(path)
    return path


def test_features_in_the_order_of_a_label_sheet_and_a_run_of_both_systems(tmp_path: Path) -> None:
    savemat(tmp_path / "feature.mat", {"feature": values().T.astype(float)})
    sheets = {"casme2": sheet(tmp_path / "coding.xlsx")}
    dataset = open_specs([f"features={tmp_path / 'feature.mat'}"], sheets)
    assert dataset[0].clips()[0].key == "casme2/00/EP00_01"
    ours = benchmark(dataset, "features-svm", tmp_path / "a", labels="own", jobs=1, parameters={"inner_folds": 2})
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    theirs = benchmark(dataset, estimator_system("mine", pipeline, recipe="features"), tmp_path / "b", labels="own",
                       jobs=1)  # fmt: skip
    for ledger in (ours, theirs):
        result = report(ledger)
        assert result["n_clips"] == N
        assert result["uf1"] > 0.8
        assert result["interval_source"] == {"ready": N}


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda f: (f / "clips.csv").unlink(), "no column 'subject'"),
        (lambda f: (f / "clips.csv").write_text("subject,clip,emotion\n1,a,sad\n"), "has 1 clips"),
        (lambda f: (f / "more.npz").write_bytes(b""), "2 files of features"),
        (lambda f: (f / "feature.mat").write_bytes(b"no"), "cannot be read as features"),
        (lambda f: savemat(f / "feature.mat", {"a": np.eye(3), "b": np.eye(4)}), "2 matrices"),
        (lambda f: savemat(f / "feature.mat", {"feature": np.full((D, N), np.nan)}), "no finite number"),
        (lambda f: (f / "feature.mat").unlink(), "0 files of features"),
    ],
)
def test_what_does_not_fit_is_refused(spoil: Callable[[Path], object], says: str, tmp_path: Path) -> None:
    spoil(mat_and_clips(tmp_path))
    with pytest.raises(MienError, match=says):
        Features(tmp_path).clips()


def test_a_system_that_reads_frames_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="cannot read features"):
        benchmark(f"features={one_csv(tmp_path)}", "ststnet", tmp_path / "run", labels="own", jobs=1)


def test_equal_rows_are_reported(tmp_path: Path) -> None:
    folder = one_csv(tmp_path)
    text = (folder / "all.csv").read_text().splitlines()
    numbers = text[1].split(",")[3:]
    text[2] = ",".join([*text[2].split(",")[:3], *numbers])
    (folder / "all.csv").write_text("\n".join(text))
    (problem,) = Features(folder).problems()
    assert problem.where == "row 2"


def test_the_public_features_of_casme_2_have_246_clips_of_five_emotions() -> None:
    folder, coding = SHARED / "casme2_features", SHARED / "label_sheets" / "CASME2-coding-20140508.xlsx"
    if not folder.is_dir() or not coding.is_file():
        pytest.skip("the features are not beside the project")
    (dataset,) = open_specs([f"features={folder / 'CASME2_feature.mat'}"], {"casme2": coding})
    clips = dataset.clips()
    assert len(clips) == 255
    assert len({c.subject for c in clips}) == 26
    five = {"happiness", "surprise", "disgust", "repression", "others"}
    assert sum(c.emotion in five for c in clips) == 246
    assert features_of(clips[-1]).shape == (177,)
    assert json.dumps(dict(clips[0].extra))
