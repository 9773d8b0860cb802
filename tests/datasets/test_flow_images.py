"""Ready flow pictures: both layouts written and read back, what is wrong with a copy, and the real composite."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mien.datasets.base import MARKER
from mien.datasets.flow_images import FlowImages, Layout, read_flow_picture
from mien.errors import MienError
from mien.synthesis.flow_images import write_flow_images
from mien.types import Clip, Problem

LAYOUTS: tuple[Layout, ...] = ("folders", "csv")
REAL = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "megc2019_flow"


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[Path, list[Clip]]:
    """Six subjects with six clips each, in folders."""
    return tmp_path, write_flow_images(tmp_path, subjects=6, clips_per_subject=6)


def rewrite(path: Path, change: dict[int, dict[str, str]], drop: tuple[int, ...] = ()) -> None:
    """Changes cells of the CSV, by row (0 is the first clip)."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    rows = [row | change.get(i, {}) for i, row in enumerate(rows) if i not in drop]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)


def only(problems: list[Problem]) -> Problem:
    assert len(problems) == 1, problems
    return problems[0]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_is_written_is_read(tmp_path: Path, layout: Layout) -> None:
    written = write_flow_images(tmp_path, subjects=7, clips_per_subject=4, layout=layout)
    dataset = FlowImages(tmp_path)
    assert dataset.layout == layout
    assert dataset.clips() == written
    assert dataset.problems() == []
    assert len(written) == len({clip.key for clip in written}) == 28
    assert {clip.person for clip in written} == {
        *(("smic_hs", subject) for subject in ("s01", "s02", "s03")),
        *(("casme2", subject) for subject in ("sub01", "sub02")),
        *(("samm", subject) for subject in ("001", "002")),
    }
    for clip in written:
        assert clip.medium == "flow"
        assert clip.interval is None
        assert clip.fps is None
        assert len(clip.frames) == 1
        assert clip.name == clip.frames[0].stem.strip()
    assert set(Counter(clip.emotion for clip in written)) == {"negative", "positive", "surprise"}
    assert (tmp_path / MARKER).is_file()


def test_both_layouts_have_the_same_clips_and_pixels(tmp_path: Path) -> None:
    pictures = {}
    for layout in LAYOUTS:
        clips = write_flow_images(tmp_path / layout, subjects=3, clips_per_subject=3, seed=4, layout=layout)
        pictures[layout] = {clip.key: clip.frames[0].read_bytes() for clip in clips}
    assert pictures["folders"] == pictures["csv"]
    other = write_flow_images(tmp_path / "other", subjects=3, clips_per_subject=3, seed=5)
    assert all(clip.frames[0].read_bytes() != pictures["csv"][clip.key] for clip in other)


def test_pictures_are_u_v_strain_scaled_to_all_levels(corpus: tuple[Path, list[Clip]]) -> None:
    for clip in corpus[1]:
        picture = read_flow_picture(clip.frames[0])
        assert picture.shape == (28, 28, 3)
        assert picture.dtype == np.uint8
        assert (picture.min((0, 1)) == 0).all()
        assert (picture.max((0, 1)) == 255).all()
        # OpenCV reads blue first: strain, v, u.
        assert np.array_equal(cv2.imread(str(clip.frames[0])), picture[..., ::-1])


def test_classes_can_be_told_apart_across_subjects(corpus: tuple[Path, list[Clip]]) -> None:
    pictures = {clip.key: read_flow_picture(clip.frames[0]).astype(float).ravel() for clip in corpus[1]}
    right = 0
    for clip in corpus[1]:
        others = [other for other in corpus[1] if other.person != clip.person]
        means = {
            emotion: np.mean([pictures[o.key] for o in others if o.emotion == emotion], axis=0)
            for emotion in ("negative", "positive", "surprise")
        }
        distances = {emotion: float(np.abs(mean - pictures[clip.key]).sum()) for emotion, mean in means.items()}
        right += min(distances, key=lambda emotion: distances[emotion]) == clip.emotion
    assert right / len(corpus[1]) > 0.8


def test_channel_order(tmp_path: Path) -> None:
    array = np.zeros((4, 5, 3), np.uint8)
    array[..., 0], array[1, 2, 1], array[0, 0, 2] = 10, 20, 30
    Image.fromarray(array).save(tmp_path / "a.png")
    assert np.array_equal(read_flow_picture(tmp_path / "a.png"), array)


def test_a_picture_without_motion_is_no_grey_picture(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "still.png")
    assert not read_flow_picture(tmp_path / "still.png").any()


@pytest.mark.parametrize("kind", ["L", "I;16", "equal channels", "truncated", "text", "empty", "missing", "folder"])
def test_pictures_that_cannot_be_used(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.png"
    ramp = np.arange(784, dtype=np.uint16).reshape(28, 28)
    if kind == "L":
        Image.fromarray((ramp % 256).astype(np.uint8)).save(path)
    elif kind == "I;16":
        Image.fromarray(ramp).save(path)
    elif kind == "equal channels":
        Image.fromarray(np.repeat((ramp % 256).astype(np.uint8)[..., None], 3, 2)).save(path)
    elif kind == "truncated":
        noise = np.random.default_rng(0).integers(0, 256, (28, 28, 3), np.uint8)
        Image.fromarray(noise).save(path)
        path.write_bytes(path.read_bytes()[:700])
    elif kind in ("text", "empty"):
        path.write_text("not a picture" if kind == "text" else "", encoding="utf-8")
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(MienError) as caught:
        read_flow_picture(path)
    assert "a.png" in caught.value.found
    assert ("grey" in caught.value.found) == (kind in ("L", "I;16", "equal channels"))


def test_csv_names_pictures_by_either_name(tmp_path: Path) -> None:
    """The published list says s03_s3_ne_01.jpg where the picture is s03_s03_ne_01.png."""
    clips = write_flow_images(tmp_path, subjects=1, clips_per_subject=3, layout="csv")
    rewrite(tmp_path / "clips.csv", {0: {"imagename": "elsewhere.jpg"}})
    assert FlowImages(tmp_path).clips() == clips
    clips[1].frames[0].rename(tmp_path / "odd name .png")
    rewrite(tmp_path / "clips.csv", {1: {"imagename": "odd name.jpg"}})
    read = FlowImages(tmp_path).clips()[1]
    assert read.name == clips[1].name
    assert read.frames == (tmp_path / "odd name .png",)


def test_csv_line_without_a_picture_gives_a_clip_without_frames(tmp_path: Path) -> None:
    clips = write_flow_images(tmp_path, subjects=2, clips_per_subject=3, layout="csv")
    clips[2].frames[0].rename(tmp_path / "stray.png")
    dataset = FlowImages(tmp_path)
    assert [clip.key for clip in dataset.clips() if not clip.frames] == [clips[2].key]
    assert "stray.png" in only(dataset.problems()).where


def test_other_files_are_ignored(corpus: tuple[Path, list[Clip]]) -> None:
    root, clips = corpus
    folder = clips[0].frames[0].parent
    (folder / "Thumbs.db").write_bytes(b"x")
    (folder / "._hidden.png").write_bytes(b"x")
    (root / "notes").mkdir()
    dataset = FlowImages(root)
    assert dataset.clips() == clips
    problem = only(dataset.problems())
    assert problem.severity == "note"
    assert "notes" in problem.where


def test_a_test_picture_among_the_training_ones(corpus: tuple[Path, list[Clip]]) -> None:
    root, clips = corpus
    own, other = clips[0], clips[-1]
    labels = {"negative": "0", "positive": "1", "surprise": "2"}
    for clip in (own, other):
        folder = root / own.subject / "u_train" / labels[clip.emotion]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / clip.frames[0].name).write_bytes(clip.frames[0].read_bytes())
    dataset = FlowImages(root)
    assert dataset.clips() == clips, "training copies are no clips"
    problem = only(dataset.problems())
    assert own.name in problem.what
    assert problem.severity == "error"


def test_a_training_picture_under_another_label(corpus: tuple[Path, list[Clip]]) -> None:
    root, clips = corpus
    folder = root / clips[0].subject / "u_train" / ("1" if clips[-1].emotion == "negative" else "0")
    folder.mkdir(parents=True)
    (folder / clips[-1].frames[0].name).write_bytes(clips[-1].frames[0].read_bytes())
    assert clips[-1].emotion in only(FlowImages(root).problems()).what


def test_folders_and_csv_that_disagree(corpus: tuple[Path, list[Clip]]) -> None:
    root, clips = corpus
    rewrite(root / "clips.csv", {0: {"label": "2"}, 3: {"sub": "s77"}, 5: {"dataset": "samm"}}, drop=(7,))
    clips[-1].frames[0].unlink()
    said = " | ".join(problem.what for problem in FlowImages(root).problems())
    assert "has the label 2 (surprise)" in said
    assert "gives the subject s77, the folder s01" in said
    assert "not printed as samm" in said
    assert f"no picture of {clips[-1].name}" in said
    assert "is in no line of clips.csv" in said


def test_a_picture_filed_under_another_subject(corpus: tuple[Path, list[Clip]]) -> None:
    root, clips = corpus
    first, last = clips[0], clips[-1]
    first.frames[0].rename(last.frames[0].parent / first.frames[0].name)
    said = " | ".join(problem.what for problem in FlowImages(root).problems())
    assert f"begins with subject {first.subject}, but it is filed under {last.subject}" in said


def test_empty_subject_and_loose_pictures(corpus: tuple[Path, list[Clip]]) -> None:
    root, clips = corpus
    (root / "s19" / "u_test").mkdir(parents=True)
    loose = root / clips[0].subject / "u_test" / "loose.png"
    loose.write_bytes(clips[0].frames[0].read_bytes())
    problems = {problem.where: problem.what for problem in FlowImages(root).problems()}
    assert problems.keys() == {str(root / "s19"), str(loose.parent)}
    assert "no picture" in problems[str(root / "s19")]
    assert "outside any label folder" in problems[str(loose.parent)]


@pytest.mark.parametrize(("name", "word"), [("u_test/9", "'9'"), ("u_test/happy", "'happy'")])
def test_unknown_label_folder(corpus: tuple[Path, list[Clip]], name: str, word: str) -> None:
    root, clips = corpus
    folder = root / clips[0].subject / name
    folder.mkdir()
    clips[0].frames[0].rename(folder / "a.png")
    with pytest.raises(MienError) as caught:
        FlowImages(root).clips()
    assert word in caught.value.found
    assert "0 (negative)" in caught.value.expected


def test_unknown_subject(corpus: tuple[Path, list[Clip]]) -> None:
    root, clips = corpus
    (root / clips[0].subject).rename(root / "person7")
    with pytest.raises(MienError, match="person7"):
        FlowImages(root).clips()


def test_lost_zeros_are_explained(tmp_path: Path) -> None:
    write_flow_images(tmp_path, subjects=3, clips_per_subject=1, layout="csv")
    rewrite(tmp_path / "clips.csv", {2: {"sub": "1"}})
    with pytest.raises(MienError, match="leading zeros"):
        FlowImages(tmp_path).clips()


def test_csv_without_a_column(tmp_path: Path) -> None:
    write_flow_images(tmp_path, subjects=1, clips_per_subject=1, layout="csv")
    path = tmp_path / "clips.csv"
    path.write_text(path.read_text(encoding="utf-8").replace("label", "class"), encoding="utf-8")
    with pytest.raises(MienError) as caught:
        FlowImages(tmp_path).clips()
    assert "no column label" in caught.value.found


def test_csv_that_is_no_text(tmp_path: Path) -> None:
    write_flow_images(tmp_path, subjects=1, clips_per_subject=1, layout="csv")
    (tmp_path / "clips.csv").write_bytes(b"\xff\xfe\x00\xd8")
    with pytest.raises(MienError, match="cannot be read"):
        FlowImages(tmp_path).clips()


def test_no_pictures_at_all(corpus: tuple[Path, list[Clip]]) -> None:
    root, clips = corpus
    for clip in clips:
        clip.frames[0].unlink()
    with pytest.raises(MienError, match="no picture"):
        FlowImages(root).clips()


def test_a_folder_in_no_known_layout(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="known layout"):
        FlowImages(tmp_path)
    with pytest.raises(MienError, match="does not exist"):
        FlowImages(tmp_path / "nowhere")


def test_a_folder_one_level_too_high_is_pointed_down(tmp_path: Path) -> None:
    write_flow_images(tmp_path / "pictures", subjects=1, clips_per_subject=1)
    with pytest.raises(MienError) as caught:
        FlowImages(tmp_path)
    assert f"flow_images={tmp_path / 'pictures'}" in caught.value.fix
    write_flow_images(tmp_path / "others", subjects=1, clips_per_subject=1)
    with pytest.raises(MienError) as caught:
        FlowImages(tmp_path)
    assert str(tmp_path) not in caught.value.fix


@pytest.mark.parametrize("change", [{"subjects": 0}, {"clips_per_subject": 0}, {"layout": "zip"}])
def test_writing_what_cannot_be(tmp_path: Path, change: dict[str, int]) -> None:
    arguments = {"subjects": 1, "clips_per_subject": 1} | change
    with pytest.raises(MienError):
        write_flow_images(tmp_path, **arguments)  # type: ignore[arg-type]


def test_reading_loads_no_torch() -> None:
    code = "import sys, mien.datasets.check, mien.datasets.flow_images; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(not REAL.is_dir(), reason="the real flow pictures are not beside the project")
def test_the_real_composite() -> None:
    dataset = FlowImages(REAL)
    clips = dataset.clips()
    assert len(clips) == len({clip.key for clip in clips}) == 442
    assert len({clip.person for clip in clips}) == 68
    assert Counter(clip.emotion for clip in clips) == {"negative": 250, "positive": 109, "surprise": 83}
    assert Counter(clip.dataset for clip in clips) == {"smic_hs": 164, "casme2": 145, "samm": 133}
    assert Counter(dataset for dataset, _ in {clip.person for clip in clips}) == {
        "smic_hs": 16,
        "casme2": 24,
        "samm": 28,
    }
    assert dataset.problems() == []
    assert not any(clip.name != clip.name.strip() for clip in clips)
    # Brows move together and down in negative ones, and up in surprise: which channel is u and which v.
    brows: dict[str, list[float]] = {"negative": [], "surprise": []}
    for clip in clips:
        if clip.emotion in brows:
            v = read_flow_picture(clip.frames[0])[..., 1].astype(float)
            brows[clip.emotion].append(float(v[4:11, 3:25].mean() - np.median(v)))
    assert np.mean(brows["negative"]) > 5
    assert np.mean(brows["surprise"]) < -10
