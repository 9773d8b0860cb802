"""Intervals that others detected."""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.cli.main import main
from mien.errors import MienError
from mien.evaluation.referee.frames import FrameRule, frame_runs, suppress
from mien.evaluation.referee.rules import count_by_rule, overlapping
from mien.evaluation.referee.score import compare_predictions, score
from mien.evaluation.spotting.metrics import count, match
from mien.spotting.base import Spot

SPOTTING = Path(__file__).resolve().parents[4] / "shared" / "data" / "megc2020_spotting"

Pair = tuple[int, int]
pairs = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 25)).map(lambda p: (p[0], p[0] + p[1])), max_size=9)


def iou(a: Pair, b: Pair) -> float:
    """Plain statement: frames in both over frames in either."""
    first, second = set(range(a[0], a[1] + 1)), set(range(b[0], b[1] + 1))
    return len(first & second) / len(first | second)


def columns(intervals: list[Pair]) -> tuple[Any, Any]:
    table = np.array(intervals, np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]


@settings(max_examples=150, deadline=None)
@given(pairs, pairs)
def test_rules_agree_with_plain_statements_of_them(true: list[Pair], found: list[Pair]) -> None:
    near = overlapping(columns(true), columns(found))
    slow = [(t, f) for t, a in enumerate(true) for f, b in enumerate(found) if iou(a, b) >= 0.5]
    assert sorted(zip(*(each.tolist() for each in near), strict=True)) == slow
    one, _ = count_by_rule("one_to_one", len(true), len(found), near)
    spots = [[Spot(a, None, b, "micro") for a, b in each] for each in (true, found)]
    assert one == count([(spots[0], spots[1])])["micro"]
    assert one.tp == len(match(spots[0], spots[1]))
    challenge, hits = count_by_rule("megc2020", len(true), len(found), near)
    n_hit = sum(any(iou(a, b) >= 0.5 for b in found) for a in true)
    assert (challenge.tp, challenge.fp, challenge.fn) == (n_hit, len(found) - n_hit, len(true) - n_hit)
    assert len(hits) == n_hit
    strs, _ = count_by_rule("strs", len(true), len(found), near)
    lone = sum(all(iou(a, b) < 0.5 for a in true) for b in found)
    assert (strs.tp, strs.fp, strs.fn) == (len(slow), lone, len(true) - n_hit)
    assert one.tp <= challenge.tp <= strs.tp


@pytest.mark.parametrize("form", ["mdmd_intervals", pytest.param("mdmd_frame_decisions", marks=pytest.mark.slow)])
def test_the_official_figures_of_megc_2020_to_the_digit(form: str) -> None:
    if not SPOTTING.is_dir():
        pytest.skip("the files of the challenge are not beside the project")
    expected = {
        ("casme_sq", "cas_me_2"): ((21, 5014, 36), (109, 1414, 191), (0.0082, 0.1196, 0.0376)),
        ("samm_lv", "samm_lv"): ((29, 1407, 130), (22, 334, 321), (0.0364, 0.0629, 0.0445)),
    }
    for (name, file), (micro, macro, f1) in expected.items():
        result = score(SPOTTING / form, f"{name}={SPOTTING / 'truth' / file}.txt", rule="megc2020")
        for kind, counts in (("micro", micro), ("macro", macro)):
            assert tuple(result[kind][key] for key in ("tp", "fp", "fn")) == counts
        assert tuple(round(result[kind]["f1"], 4) for kind in ("micro", "macro", "all")) == f1
        assert result["n_videos"] == {"casme_sq": 98, "samm_lv": 147}[name]
    assert score(SPOTTING / form, f"casme_sq={SPOTTING / 'truth' / 'cas_me_2.txt'}")["macro"]["tp"] == 104


def test_the_logs_of_tsmsnet_give_their_own_counts() -> None:
    if not SPOTTING.is_dir():
        pytest.skip("the files of the challenge are not beside the project")
    log = SPOTTING / "tsmsnet" / "output" / "step3" / "LOG_CAS_Micro.txt"
    marks = [line.split()[-1] for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    result = score(log, f"casme_sq={SPOTTING / 'truth' / 'cas_me_2.txt'}", kind="micro")["micro"]
    assert result["tp"] == marks.count("TP")
    assert result["fp"] == marks.count("FP")


TRUTH = """subject,video,kind,onset,offset,emotion
1,a,micro,10,19,happy
1,a,macro,100,159,sad
1,b,,,,
2,a,micro,30,44,sad
2,c,micro,50,60,happy
"""


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text(TRUTH, encoding="utf-8")
    return path


def counts(result: Any, kind: str = "all") -> tuple[int, int, int]:
    return result[kind]["tp"], result[kind]["fp"], result[kind]["fn"]


def test_a_table_of_intervals(truth: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(
        "subject,video,kind,onset,offset\n1,a,micro,11,20\n1,a,micro,100,159\n1,b,macro,5,60\n2,a,micro,1,9\n"
    )
    result = score(path, truth)
    assert counts(result, "micro") == (1, 2, 2)
    assert counts(result, "macro") == (0, 1, 1)
    assert (result["n_videos"], result["n_videos_without_expression"], result["n_videos_not_predicted"]) == (4, 1, 1)
    alone = result["videos_with_expression_alone"]["macro"]
    assert (alone["tp"], alone["fp"], alone["fn"]) == (0, 0, 1)
    assert any("do not occur in the predictions" in text for text in result["warnings"])
    assert any("those of the truth" in text for text in result["assumed"])


def test_the_result_files_of_megc_2022(truth: Path, tmp_path: Path) -> None:
    path = tmp_path / "cas_pred.csv"
    path.write_text("vid,pred_onset,pred_offset,type\n1_a,11,20,me\n1_a,100,159,mae\n")
    result = score(path, truth)
    assert (counts(result, "micro"), counts(result, "macro")) == ((1, 0, 2), (1, 0, 0))
    assert result["form"] == "result file of MEGC 2022"


def test_frames_counted_from_0(truth: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("subject,video,kind,onset,offset\n1,a,micro,4,13\n")
    shifted = tmp_path / "q.csv"
    shifted.write_text("subject,video,kind,onset,offset\n1,a,micro,5,14\n")
    assert counts(score(path, truth, frames_from="0"), "micro") == counts(score(shifted, truth), "micro")
    assert any("from 0" in text for text in score(path, truth, frames_from="0")["assumed"])
    borderline = tmp_path / "r.csv"  # 10..19 against 7..14: 5 of 13; against 8..15: 6 of 12
    borderline.write_text("subject,video,kind,onset,offset\n1,a,micro,7,15\n")
    assert counts(score(borderline, truth), "micro")[0] == 0
    assert counts(score(borderline, truth, frames_from="0"), "micro")[0] == 1


def test_proposals_without_kinds(truth: Path, tmp_path: Path) -> None:
    path = tmp_path / "test_00.txt"
    path.write_text("1_a\t10.2\t19.4\t0.9\n1_a\t11.0\t20.0\t0.8\n1_a\t101.0\t158.0\t0.7\n2_a\t29.0\t45.0\t0.1\n")
    result = score(path, truth, settings={"nms": 0.2, "at": 0.5})
    assert result["kinds"] == ["all"]
    assert counts(result) == (2, 0, 2)
    assert counts(score(path, truth)) == (3, 1, 1)


def test_scores_of_frames_by_a_stated_rule(truth: Path, tmp_path: Path) -> None:
    curve = np.zeros(100)
    curve[10:20], curve[21] = 3.0, 3.0
    rows = "\n".join(f"1,a,{n},{v}" for n, v in enumerate(curve))
    path = tmp_path / "scores.csv"
    path.write_text("subject,video,frame,score\n" + rows)
    result = score(path, truth, kind="micro", settings={"p": "0.5"})
    assert counts(result, "micro") == (1, 1, 2)
    assert any("mean + 0.5 (maximum - mean)" in text for text in result["assumed"])
    assert counts(score(path, truth, kind="micro", settings={"shortest": 2}), "micro") == (1, 0, 2)
    assert counts(score(path, truth, kind="micro", settings={"gap": 1}), "micro") == (1, 0, 2)


def test_spot_then_recognise(truth: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("subject,video,kind,onset,offset,emotion\n1,a,micro,10,19,happy\n2,a,micro,30,44,happy\n")
    result = score(path, truth, rule="strs")
    assert result["strs"]["named"] == 2
    assert result["strs"]["spot_f1"] == pytest.approx(0.8)
    precision, recall = (0.5 + 0) / 2, (1 + 0) / 2
    assert result["strs"]["analysis_f1"] == pytest.approx(2 * precision * recall / (precision + recall))


def test_a_comparison_of_two_people(truth: Path, tmp_path: Path) -> None:
    a, b = tmp_path / "a.csv", tmp_path / "b.csv"
    a.write_text("subject,video,kind,onset,offset\n1,a,micro,10,19\n2,a,micro,30,44\n")
    b.write_text("subject,video,kind,onset,offset\n1,a,micro,10,19\n2,a,micro,90,99\n")
    result = compare_predictions(a, b, truth)
    assert result["micro"]["f1"] == [pytest.approx(0.8), pytest.approx(0.4)]
    assert compare_predictions(a, a, truth)["all"]["difference"] == 0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.3, 0.6, 1.0]), min_size=1, max_size=40), st.integers(0, 3), st.integers(1, 4))
def test_runs_of_frames_agree_with_a_plain_loop(scores: list[float], gap: int, shortest: int) -> None:
    first, last = frame_runs(
        np.arange(len(scores), dtype=np.float64), np.array(scores), FrameRule(at=0.5, gap=gap, shortest=shortest)
    )
    inside = [n for n, value in enumerate(scores) if value >= 0.5]
    slow: list[list[int]] = []
    for n in inside:
        if slow and n - slow[-1][1] <= gap + 1:
            slow[-1][1] = n
        else:
            slow.append([n, n])
    assert list(zip(first.tolist(), last.tolist(), strict=True)) == [(a, b) for a, b in slow if b - a + 1 >= shortest]


@settings(max_examples=60, deadline=None)
@given(pairs, st.integers(0, 1000))
def test_suppression_leaves_no_two_that_overlap_and_drops_none_without_reason(intervals: list[Pair], seed: int) -> None:
    onsets, offsets = columns(intervals)
    scores = np.random.default_rng(seed).permutation(len(intervals)).astype(float)
    kept = suppress(onsets, offsets, scores, 0.2)
    for a, b in itertools.combinations(kept.tolist(), 2):
        assert iou(intervals[a], intervals[b]) <= 0.2
    for n in set(range(len(intervals))) - set(kept.tolist()):
        assert any(scores[k] > scores[n] and iou(intervals[k], intervals[n]) > 0.2 for k in kept)


MALFORMED = {
    "unknown_video.csv": ("subject,video,kind,onset,offset\n9,z,micro,1,2\n", "not in the truth"),
    "backwards.csv": ("subject,video,kind,onset,offset\n1,a,micro,20,10\n", "swapped"),
    "kind.csv": ("subject,video,kind,onset,offset\n1,a,tiny,1,10\n", "the kind is 'tiny'"),
    "half_kinds.csv": ("subject,video,kind,onset,offset\n1,a,micro,1,10\n1,a,,30,40\n", "kind"),
    "words.csv": ("subject,video,kind,onset,offset\n1,a,micro,one,10\n", "the onset is 'one'"),
    "nan.csv": ("subject,video,kind,onset,offset\n1,a,micro,nan,10\n", "the onset is 'nan'"),
    "no_offset.csv": ("subject,video,kind,onset\n1,a,micro,1\n", "no column for the offset"),
    "no_video.csv": ("subject,kind,onset,offset\n1,micro,1,10\n", "no column for the video"),
    "frames_twice.csv": ("video,subject,frame,score\na,1,1,0.5\na,1,1,0.6\n", "is there twice"),
    "no_score.csv": ("video,subject,frame\na,1,1\n", "no column for the score"),
    "odd_pairs.txt": ("1_a [[1, 2], [3]]\n", "3 numbers"),
    "log.txt": ("1_a - - x y FP\n1_a - - 3 9 FP\n", "no frame"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files_give_three_parts_and_exit_2(
    name: str, truth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content, says = MALFORMED[name]
    (tmp_path / name).write_text(content, encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["mien", "score", str(tmp_path / name), "--truth", str(truth)])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert "Expected: " in shown
    assert "Try:      " in shown
    assert says in " ".join(shown.split())


def test_the_command_prints_what_the_function_returns(
    truth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "p.csv"
    path.write_text("subject,video,kind,onset,offset\n1,a,micro,10,19\n1,a,macro,100,159\n")
    words = [
        "mien",
        "score",
        str(path),
        "--truth",
        str(truth),
        "--rule",
        "megc2020",
        "--length",
        "macro=1-20",
        "--json",
    ]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    shown = json.loads(capsys.readouterr().out)
    assert shown == score(path, [str(truth)], rule="megc2020", lengths={"macro": (1, 20)})
    assert counts(shown, "macro") == (0, 0, 1)


def test_a_truth_that_is_missing_or_no_truth(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("subject,video,kind,onset,offset\n1,a,micro,10,19\n")
    with pytest.raises(MienError, match="No truth is given"):
        score(path)
    with pytest.raises(MienError, match="no truth at"):
        score(path, tmp_path / "nowhere.csv")
    with pytest.raises(MienError, match="NAME=FOLDER"):
        score(path, tmp_path)
