"""Classes and action units that others predicted."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, recall_score

from mien.cli.main import main
from mien.datasets import open_dataset
from mien.errors import MienError
from mien.evaluation.ledger import fold_file, read_ledger, rows_as_csv
from mien.evaluation.referee.score import compare_predictions, score, write_page
from mien.evaluation.report import report
from mien.evaluation.run import benchmark
from mien.synthesis.flow_images import write_flow_images

CONFUSIONS = {
    "casme2": [[83, 5, 0], [12, 19, 1], [2, 0, 23]],
    "smic": [[54, 10, 6], [17, 30, 4], [14, 1, 28]],
    "samm": [[82, 7, 3], [11, 13, 2], [5, 2, 8]],
}
"""Counts of the public log of STSTNet, from which every published figure of it follows."""


def ststnet_log(path: Path) -> Path:
    """Write a log in the form of the public one, with its counts but subjects and clips of our own."""
    lines = []
    for database, table in CONFUSIONS.items():
        pairs = [f"{t} {p}" for t in range(3) for p in range(3) for _ in range(table[t][p])]
        for subject in range(0, len(pairs), 9):
            lines += [f"{database} {subject:03d}", *(f"clip{n} {each}" for n, each in enumerate(pairs[subject:][:9]))]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_the_log_of_ststnet_tells_uar_from_macro_precision(tmp_path: Path) -> None:
    result = score(ststnet_log(tmp_path / "log.txt"))
    assert result["n_clips"] == 442
    assert round(result["uf1"], 4) == 0.7353
    assert round(result["uar"], 4) == 0.7186
    assert round(result["macro_precision"], 4) == 0.7605
    assert round(result["accuracy"], 4) == 0.7692
    parts = {name: (round(v["uf1"], 4), round(v["uar"], 4)) for name, v in result["per_dataset"].items()}
    assert parts == {"smic_hs": (0.6801, 0.6703), "casme2": (0.8382, 0.8190), "samm": (0.6588, 0.6415)}
    assert result["f1_fold_mean"] is None
    assert any("negative, positive, surprise" in text for text in result["assumed"])


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pictures")
    write_flow_images(root, subjects=4, clips_per_subject=6, seed=0, layout="folders")
    return root


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    ledger = benchmark(f"flow_images={pictures}", "flow-svm", folder, jobs=1)
    for number, fold in enumerate(dict.fromkeys(row.fold for row in ledger.rows)):  # every third answer becomes wrong
        rows = [
            replace(r, y_pred=_next(r.y_pred, ledger.classes), probabilities=np.roll(r.probabilities, 1).tolist())
            if n % 3 == number % 3
            else r
            for n, r in enumerate(row for row in ledger.rows if row.fold == fold)
        ]
        fold_file(folder, 0, number).write_text(rows_as_csv(rows, ledger.classes), encoding="utf-8")
    return folder


def _next(name: str, classes: Sequence[str]) -> str:
    return classes[(classes.index(name) + 1) % len(classes)]


def rows_of(run: Path) -> list[dict[str, Any]]:
    ledger = read_ledger(run)
    return [
        {"dataset": r.dataset, "subject": r.subject, "clip": r.clip, "fold": r.fold, "prediction": r.y_pred,
         **{f"p_{c}": p for c, p in zip(ledger.classes, r.probabilities, strict=True)}}
        for r in ledger.rows
    ]  # fmt: skip


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    return path


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("write", [write_csv, write_jsonl, write_parquet])
def test_a_run_written_as_a_table_scores_as_the_run(write: Any, run: Path, pictures: Path, tmp_path: Path) -> None:
    suffix = {"write_csv": ".csv", "write_jsonl": ".jsonl", "write_parquet": ".parquet"}[write.__name__]
    ours, theirs = report(run), score(write(tmp_path / f"p{suffix}", rows_of(run)), f"flow_images={pictures}")
    same = ("uf1", "uar", "accuracy", "f1_weighted", "macro_precision", "f1_fold_mean", "confusion", "per_dataset",
            "per_class", "uf1_interval", "n_subjects", "majority_uf1")  # fmt: skip
    assert {key: theirs[key] for key in same} == {key: ours[key] for key in same}
    assert not any("several folds" in text for text in theirs["warnings"])


def test_scores_are_those_of_scikit_learn(pictures: Path, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows = [{"subject": n % 7, "clip": f"c{n}", "truth": f"k{random.integers(4)}", "pred": f"k{random.integers(4)}"}
            for n in range(90)]  # fmt: skip
    result = score(write_csv(tmp_path / "p.csv", rows))
    truth, answer = [r["truth"] for r in rows], [r["pred"] for r in rows]
    assert result["uf1"] == pytest.approx(f1_score(truth, answer, average="macro"))
    assert result["uar"] == pytest.approx(recall_score(truth, answer, average="macro"))


def test_leaving_clips_out_cannot_raise_a_score(run: Path, pictures: Path, tmp_path: Path) -> None:
    truth = {r.key: r.y_true for r in read_ledger(run).rows}
    rows = rows_of(run)
    right = [r for r in rows if truth[f"{r['dataset']}/{r['subject']}/{r['clip']}"] == r["prediction"]]
    assert 0 < len(right) < len(rows)
    result = score(write_csv(tmp_path / "p.csv", right), f"flow_images={pictures}")
    assert result["n_missing"] == len(rows) - len(right)
    assert result["accuracy"] == pytest.approx(len(right) / len(rows))
    assert any("count as wrong" in text for text in result["warnings"])


def test_twice_the_same_answer_counts_once_and_is_said(run: Path, pictures: Path, tmp_path: Path) -> None:
    rows = rows_of(run)
    once = score(write_csv(tmp_path / "a.csv", rows), f"flow_images={pictures}")
    twice = score(write_csv(tmp_path / "b.csv", [*rows, rows[3]]), f"flow_images={pictures}")
    assert twice["confusion"] == once["confusion"]
    assert any("1 clip(s) have two rows" in text for text in twice["warnings"])


def test_subjects_in_several_folds_are_reported(run: Path, pictures: Path, tmp_path: Path) -> None:
    rows = [{**row, "fold": n % 3} for n, row in enumerate(rows_of(run))]
    result = score(write_csv(tmp_path / "p.csv", rows), f"flow_images={pictures}")
    assert any("4 of 4 subjects have clips in several folds" in text for text in result["warnings"])


def test_rows_of_training_are_not_scored_and_shared_subjects_are_reported(tmp_path: Path) -> None:
    rows = [{"subject": n % 4, "clip": f"c{n}", "set": "train" if n < 4 else "test", "truth": "ab"[n % 2],
             "pred": "a"} for n in range(10)]  # fmt: skip
    result = score(write_csv(tmp_path / "p.csv", rows))
    assert result["n_clips"] == 6
    assert any("4 subject(s) are in training and in test" in text for text in result["warnings"])


def test_names_in_another_spelling_are_found_and_said(run: Path, pictures: Path, tmp_path: Path) -> None:
    rows = [{"clip": f"{r['subject'].upper()}/{r['clip'].upper()}.png", "prediction": r["prediction"]}
            for r in rows_of(run)]  # fmt: skip
    result = score(write_csv(tmp_path / "p.csv", rows), f"flow_images={pictures}")
    assert result["accuracy"] == pytest.approx(report(run)["accuracy"])
    assert any("found by their numbers" in text for text in result["assumed"])


def test_comparing_a_file_with_itself_and_with_a_constant(run: Path, pictures: Path, tmp_path: Path) -> None:
    a = write_csv(tmp_path / "a.csv", rows_of(run))
    b = write_csv(tmp_path / "b.csv", [{"subject": r["subject"], "clip": r["clip"], "prediction": "negative"}
                                       for r in rows_of(run)])  # fmt: skip
    same = compare_predictions(a, a, f"flow_images={pictures}")
    assert same["uf1_difference"] == 0
    assert same["mcnemar_p"] == 1
    other = compare_predictions(a, b, f"flow_images={pictures}")
    assert other["uf1_difference"] == pytest.approx(report(run)["uf1"] - score(b, f"flow_images={pictures}")["uf1"])


def test_action_units_are_scored_unit_by_unit(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    truth = [{"subject": n % 5, "clip": n, "AU4": int(random.random() < 0.5), "AU12": int(random.random() < 0.4)}
             for n in range(60)]  # fmt: skip
    guess = [{**row, "AU4": round(float(random.random()), 3), "AU12": row["AU12"]} for row in truth]
    result = score(write_csv(tmp_path / "p.csv", guess), write_csv(tmp_path / "t.csv", truth))
    assert result["task"] == "units"
    assert result["per_au"]["AU12"]["f1"] == 1
    chosen = [row["AU4"] >= 0.5 for row in guess]
    assert result["per_au"]["AU4"]["f1"] == pytest.approx(f1_score([row["AU4"] for row in truth], chosen))
    page = write_page(tmp_path / "p.csv", tmp_path / "t.csv", tmp_path / "page.html").read_text(encoding="utf-8")
    for unit in ("AU4", "AU12"):
        assert unit in page
        assert f"{result['per_au'][unit]['f1']:.3f}" in page or f"{result['per_au'][unit]['auc']:.3f}" in page


def test_questions_and_answers(tmp_path: Path) -> None:
    asked = {
        "coarse": "What is the coarse expression class?",
        "fine": "What is the fine-grained expression class?",
        "units": "What are the action units?",
        "yes": "Is the action unit cheek raiser shown on the face?",
    }
    right = {"coarse": "negative", "fine": "disgust", "units": "brow lowerer, lid tightener", "yes": "no"}
    given = {"coarse": "Negative.", "fine": "surprise", "units": "The action units are: lid tightener", "yes": "no"}
    for name, answers in (("truth", right), ("mine", given)):
        lines = [{"video_id": f"x_{k}", "video": "x", "question": q, "answer": answers[k]} for k, q in asked.items()]
        write_jsonl(tmp_path / f"{name}.jsonl", lines)
    result = score(tmp_path / "mine.jsonl", tmp_path / "truth.jsonl")
    assert result["coarse"]["accuracy"] == 1
    assert result["fine"]["accuracy"] == 0
    assert result["units"]["f1"] == pytest.approx(2 / 3)
    assert result["yes_no"]["accuracy"] == 1


MALFORMED = {
    "empty.csv": (b"", "is empty"),
    "header_only.csv": (b"subject,clip,prediction\n", "has no rows"),
    "binary.csv": (b"\x89PNG\x00\x00\xff\xfe", "UTF-8"),
    "zeros.csv": (b"subject,clip\x00,prediction\n1,a,b\n", "zero bytes"),
    "ragged.csv": (b"subject,clip,prediction\n1,a,negative\n1,b\n", "Row 2"),
    "twice_a_column.csv": (b"subject,clip,clip,prediction\n1,a,a,negative\n", "twice"),
    "no_clip.csv": (b"subject,prediction\n1,negative\n", "no column for the clip"),
    "no_answer.csv": (b"subject,clip\n{s},{c}\n", "no column of predictions"),
    "no_answers.csv": (b"subject,clip,prediction\n{s},{c},\n", "no answer in any row"),
    "unknown_clip.csv": (b"subject,clip,prediction\n{s},nowhere,negative\n", "not in the truth"),
    "unknown_class.csv": (b"subject,clip,prediction\n{s},{c},negativ\n", "'negative'?"),
    "two_answers.csv": (b"subject,clip,prediction\n{s},{c},negative\n{s},{c},positive\n", "second row"),
    "sum.csv": (b"subject,clip,p_negative,p_positive,p_surprise\n{s},{c},0.5,0.4,0.4\n", "sum to 1.300"),
    "minus.csv": (b"subject,clip,p_negative,p_positive,p_surprise\n{s},{c},1.5,-0.5,0\n", "probabilities are"),
    "no_number.csv": (b"subject,clip,p_negative,p_positive,p_surprise\n{s},{c},a,b,c\n", "probabilities are"),
    "a_class_short.csv": (b"subject,clip,p_negative,p_positive\n{s},{c},0.5,0.5\n", "surprise"),
    "against_itself.csv": (
        b"subject,clip,prediction,p_negative,p_positive,p_surprise\n{s},{c},positive,0.9,0.1,0\n",
        "most probable class is 'negative'",
    ),
    "wrong_truth.csv": (b"subject,clip,prediction,y_true\n{s},{c},negative,{other}\n", "the truth says"),
    "half_json.jsonl": (b'{"subject": "1", "clip": "a"\n', "line 1 is no JSON"),
    "list_of_lists.json": (b"[[1, 2], [3, 4]]", "entry 1"),
    "seed.csv": (b"subject,clip,prediction,seed\n{s},{c},negative,first\n", "seed"),
    "no.parquet": (b"PAR1 not really", "Parquet"),
    "log.txt": (b"casme2 sub01\nEP01 0 1\nEP02 0 1 2 3\n", "words"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_files_give_three_parts_and_exit_2(
    name: str, run: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    content, says = MALFORMED[name]
    first = read_ledger(run).rows[0]
    other = next(c for c in ("negative", "positive") if c != first.y_true)
    for mark, text in (("{s}", first.subject), ("{c}", first.clip), ("{other}", other)):
        content = content.replace(mark.encode(), text.encode())
    (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(sys, "argv", ["mien", "score", str(tmp_path / name), "--truth", f"flow_images={pictures}"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    shown = capsys.readouterr().err
    assert "Expected: " in shown
    assert "Try:      " in shown
    assert says in " ".join(shown.split())


@pytest.mark.parametrize(
    ("name", "near"), [("megc2091", "megc2019"), ("megc-2020", "is for spotting"), ("megc2022", "closed site")]
)
def test_unknown_and_unfitting_rules_name_what_is_there(name: str, near: str, tmp_path: Path) -> None:
    rows = [{"subject": 1, "clip": 1, "truth": "a", "pred": "a"}]
    with pytest.raises(MienError, match=near):
        score(write_csv(tmp_path / "p.csv", rows), rule=name, task="recognise")


def test_clips_of_a_log_are_found_among_the_flow_pictures(composite: Path, tmp_path: Path) -> None:
    clips = open_dataset("flow_images", composite).clips()
    number = {"negative": 0, "positive": 1, "surprise": 2}
    lines: list[str] = []
    for clip in clips:
        head = f"{clip.dataset.removesuffix('_hs')} {clip.subject}"
        if head not in lines:
            lines += [head, *(f"{c.name.removeprefix(c.subject + '_')} {number[c.emotion]} 0" for c in clips
                              if c.person == clip.person)]  # fmt: skip
    (tmp_path / "log.txt").write_text("\n".join(lines), encoding="utf-8")
    result = score(tmp_path / "log.txt", f"flow_images={composite}", rule="megc2019")
    assert (result["n_clips"], result["n_missing"]) == (442, 0)
    assert result["accuracy"] == pytest.approx(250 / 442)
