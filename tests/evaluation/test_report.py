"""The report: every number re-computed from the rows; the page holds what it must and loads nothing."""

from __future__ import annotations

import io
import json
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from mien.errors import MienError
from mien.evaluation.figures import curve_figure, score_bar
from mien.evaluation.glossary import definitions
from mien.evaluation.ledger import Row, fold_file, read_ledger, rows_as_csv
from mien.evaluation.report import per_subject, read_logs, render_report, report, report_many, reproduce, summary
from mien.evaluation.report_html import write_html
from mien.io.atomic import write_atomically

CLASSES = ("negative", "positive", "surprise")
SUBJECTS = {"smic_hs": 16, "casme2": 24, "samm": 28}
FEW = {"smic_hs": 3, "casme2": 2, "samm": 3}
SHARES = {"smic_hs": (0.43, 0.31, 0.26), "casme2": (0.61, 0.22, 0.17), "samm": (0.69, 0.20, 0.11)}


def make_run(
    run: Path,
    *,
    seeds: tuple[int, ...] = (0,),
    subjects: dict[str, int] | None = None,
    skill: float = 0.55,
    settings: dict[str, Any] | None = None,
    names: dict[str, str] | None = None,
    without: tuple[tuple[int, int], ...] = (),
    epochs: int = 40,
) -> Path:
    """A run as `benchmark` writes it: leave one subject out over the composite, answers right at a chosen rate.

    Args:
        names: Replaces clip "c0" and subject "s1" of the first database.
        without: (seed, fold number) of folds that are not finished.
    """
    subjects = subjects or SUBJECTS
    names = names or {}
    people = [(d, f"s{n + 1}") for d, count in subjects.items() for n in range(count)]
    table = np.random.default_rng(7)
    clips = {
        person: table.choice(3, size=int(table.integers(2, 12)), p=SHARES[person[0]]).tolist() for person in people
    }
    content: dict[str, Any] = {
        "version": "0.1.0",
        "system": "ststnet",
        "system_title": "STSTNet",
        "parameters": {"epochs": 800, "batch_size": 256, "lr": 5e-5, "dropout": 0.5, "shuffle": True},
        "protocol": "composite",
        "protocol_parameters": {},
        "protocol_warning": None,
        "shares_subjects": False,
        "labels": "megc2019",
        "classes": list(CLASSES),
        "data": [{"name": "flow_images", "root": "data/flow pictures", "n_clips": sum(map(len, clips.values()))}],
        "datasets": sorted(subjects),
        "clip_table": "0123456789abcdef",
        "seeds": list(seeds),
        "n_folds": len(people),
        "shuffle_labels": False,
    }
    write_atomically(run / "run.json", json.dumps(content | (settings or {})))
    first = people[0]
    for seed in seeds:
        random = np.random.default_rng([seed, 11])
        for number, person in enumerate(people):
            rows = []
            for place, label in enumerate(clips[person]):
                p = random.dirichlet(np.ones(3))
                if random.random() < skill:
                    p[label] = p.max() + 0.2
                p /= p.sum()
                rows.append(
                    Row(
                        dataset=person[0],
                        subject=names.get("s1", "s1") if person == first else person[1],
                        clip=names.get("c0", "c0") if person == first and place == 0 else f"c{place}",
                        fold="-".join(person),
                        seed=seed,
                        interval_source="ready" if person[0] == "samm" else "annotated",
                        y_true=CLASSES[label],
                        y_pred=CLASSES[int(p.argmax())],
                        probabilities=tuple(p.tolist()),
                    )
                )
            if (seed, number) in without:
                continue
            write_atomically(fold_file(run, seed, number), rows_as_csv(rows, CLASSES))
            loss = (0.3 + 0.8 * np.exp(-np.arange(epochs) / 12) * random.uniform(0.9, 1.1, epochs)).tolist()
            log = {"fold": "-".join(person), "seconds": 2.5, "loss": loss}
            write_atomically(run / "log" / f"s{seed}-f{number:04d}.json", json.dumps(log))
    return run


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "one")


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("runs") / "three", seeds=(0, 1, 5), subjects=FEW)


def labels_of(run: Path, seed: int, dataset: str | None = None) -> tuple[list[str], list[str]]:
    rows = [r for r in read_ledger(run).of_seed(seed) if dataset in (None, r.dataset)]
    return [r.y_true for r in rows], [r.y_pred for r in rows]


def text_of(page: str) -> str:
    """What a reader of the page sees."""
    pieces: list[str] = []

    class Reader(HTMLParser):
        def handle_data(self, data: str) -> None:
            pieces.append(data)

    Reader().feed(page)
    return " ".join(" ".join(pieces).split())


def shown(result: dict[str, Any], width: int = 140) -> str:
    stream = io.StringIO()
    Console(width=width, file=stream).print(render_report(result))
    return stream.getvalue()


def test_summary_of_a_run_agrees_with_its_report(one: Path, three: Path) -> None:
    for run in (one, three):
        short, full = summary(read_ledger(run)), report(read_ledger(run))
        assert {k: v for k, v in short.items() if v is not False} == {k: full[k] for k, v in short.items() if v}


def test_numbers_are_those_of_scikit_learn(one: Path) -> None:
    result = report_many([one])[0]
    truth, answer = labels_of(one, 0)
    assert result["n_clips"] == len(truth)
    assert result["n_subjects"] == 68
    assert result["accuracy"] == pytest.approx(np.mean(np.array(truth) == np.array(answer)))
    assert result["uf1"] == pytest.approx(f1_score(truth, answer, average="macro"))
    assert result["uar"] == pytest.approx(balanced_accuracy_score(truth, answer))
    assert result["f1_weighted"] == pytest.approx(f1_score(truth, answer, average="weighted"))
    assert result["majority_accuracy"] == pytest.approx(max(truth.count(c) for c in CLASSES) / len(truth))
    assert result["confusion"] == confusion_matrix(truth, answer, labels=CLASSES).tolist()
    columns = precision_recall_fscore_support(truth, answer, labels=CLASSES)
    for name, *numbers in zip(CLASSES, *columns, strict=True):
        entry = result["per_class"][name]
        assert [entry[k] for k in ("precision", "recall", "f1", "support")] == pytest.approx(numbers)
    assert set(result["per_dataset"]) == set(SUBJECTS)
    for name, entry in result["per_dataset"].items():
        assert entry["uf1"] == pytest.approx(f1_score(*labels_of(one, 0, name), average="macro"))
        assert entry["n_subjects"] == SUBJECTS[name]
    low, high = result["uf1_interval"]
    assert low < result["uf1"] < high


def test_one_run_has_the_promised_keys(one: Path) -> None:
    result = report(read_ledger(one))
    promised = (
        "n_clips n_subjects accuracy uf1 uar f1_weighted f1_fold_mean majority_accuracy majority_uf1 confusion preset"
        " per_class per_dataset protocol system seed label_map classes data interval_source complete shuffled_labels"
        " uf1_interval averaging"
    )
    assert set(promised.split()) <= set(result)
    assert (result["protocol"], result["system"], result["seed"]) == ("composite", "ststnet", 0)
    assert result["averaging"] == "pooled over folds"
    assert result["complete"] is True
    assert result["warning"] is None
    assert result["warnings"] == []
    assert "per_seed" not in result
    assert "training" not in result
    given = sum(r.interval_source == "annotated" for r in read_ledger(one).rows)
    assert result["interval_source"] == {"annotated": given, "ready": result["n_clips"] - given}
    assert json.loads(json.dumps(result)) == result


def test_several_seeds_are_averaged_and_spread(three: Path) -> None:
    result = report_many([three])[0]
    uf1 = [f1_score(*labels_of(three, seed), average="macro") for seed in (0, 1, 5)]
    assert result["seed"] == [0, 1, 5]
    assert [entry["uf1"] for entry in result["per_seed"]] == pytest.approx(uf1)
    assert result["uf1"] == pytest.approx(np.mean(uf1))
    assert result["spread"]["uf1"] == pytest.approx({"sd": np.std(uf1, ddof=1), "min": min(uf1), "max": max(uf1)})
    truth, _ = labels_of(three, 0)
    assert result["n_clips"] == len(truth)
    assert np.sum(result["confusion"]) == 3 * len(truth)
    summed = sum(confusion_matrix(*labels_of(three, seed, "samm"), labels=CLASSES) for seed in (0, 1, 5))
    assert result["per_dataset"]["samm"]["confusion"] == summed.tolist()
    assert result["per_class"]["positive"]["support"] == truth.count("positive")
    assert result["training"]["seconds"] == pytest.approx(3 * 8 * 2.5)


def test_unfinished_run_says_how_much_is_missing(tmp_path: Path) -> None:
    run = make_run(tmp_path / "part", seeds=(0, 1), subjects=FEW, without=((0, 3), (1, 0), (1, 7)))
    result = report_many([run])[0]
    assert result["complete"] is False
    assert result["folds"] == {"done": 13, "total": 16, "missing": 3}
    assert any("3 of 16 folds are missing" in line for line in result["warnings"])
    assert "3 of 16 folds are missing" in text_of(write_html([run], tmp_path / "page.html").read_text("utf-8"))
    assert "3 of 16 folds are missing" in shown(result)


def test_run_without_a_fold_is_refused(tmp_path: Path) -> None:
    run = make_run(tmp_path / "empty", subjects={"samm": 2}, without=((0, 0), (0, 1)))
    with pytest.raises(MienError) as caught:
        report_many([run])
    assert "no finished fold" in caught.value.found
    assert "mien benchmark" in caught.value.fix


def test_folds_without_a_class_are_told(tmp_path: Path) -> None:
    lacking = {f"casme2-{n}": ["surprise"] for n in range(5)}
    result = report_many([make_run(tmp_path / "run", subjects=FEW, settings={"lacking": lacking})])[0]
    assert result["lacking"] == lacking
    assert any("casme2-0 (no surprise)" in line and "and 2 more" in line for line in result["warnings"])


def test_warnings_reach_every_form(tmp_path: Path) -> None:
    changed = {
        "protocol": "lovo5",
        "protocol_warning": "Clips of one subject are on both sides.",
        "shares_subjects": True,
        "shuffle_labels": True,
    }
    run = make_run(tmp_path / "leaky", subjects=FEW, settings=changed)
    result = report_many([run])[0]
    assert result["warning"] == changed["protocol_warning"]
    assert result["shuffled_labels"] is True
    assert result["published"] == []
    page = text_of(write_html([run], tmp_path / "deep" / "page.html").read_text("utf-8"))
    for form in (" ".join(shown(result).split()), page):
        assert "Clips of one subject are on both sides." in form
        assert "labels were shuffled" in form


def test_accuracy_below_the_majority_is_said(tmp_path: Path) -> None:
    run = make_run(tmp_path / "poor", subjects=FEW, skill=0.0)
    assert any("most frequent class" in line for line in report_many([run])[0]["warnings"])


def test_terminal_names_averaging_majority_and_published(one: Path, three: Path) -> None:
    result = report_many([one])[0]
    text = shown(result)
    assert "pooled over folds" in text
    for number in (result["uf1"], result["uar"], result["accuracy"], result["majority_accuracy"]):
        assert f"{number:.3f}" in text
    assert "STSTNet, PyTorch release" in text
    assert "HTNet" in text
    assert "mean ± sd of 3 seeds" in shown(report_many([three])[0])


def test_command_makes_the_run_again(one: Path) -> None:
    words = shlex.split(report_many([one])[0]["command"])
    assert words[:3] == ["mien", "benchmark", "flow_images=data/flow pictures"]
    assert words[words.index("--out") + 1] == str(one)
    assert words[words.index("--system") + 1] == "ststnet"
    assert [words[i + 1] for i, word in enumerate(words) if word == "--set"] == ["shuffle=true"]


def test_command_of_an_unknown_system_lists_every_parameter(one: Path) -> None:
    settings = {**read_ledger(one).settings, "system": "mine", "parameters": {"a": [1, 2], "b": "x y"}}
    settings |= {"protocol": "kfold_subject", "protocol_parameters": {"k": 5}, "shuffle_labels": True}
    words = shlex.split(reproduce(settings))
    assert [words[i + 1] for i, word in enumerate(words) if word == "--set"] == ["a=[1, 2]", "b=x y"]
    assert words[words.index("--protocol-set") + 1] == "k=5"
    assert "--shuffle-labels" in words


def test_subjects_are_counted_within_their_database(one: Path) -> None:
    ledger = read_ledger(one)
    people = per_subject(ledger)
    assert {dataset: len(entries) for dataset, entries in people.items()} == SUBJECTS
    assert sum(e["n_right"] for entries in people.values() for e in entries) == sum(
        row.y_true == row.y_pred for row in ledger.rows
    )
    for entries in people.values():
        accuracies = [entry["accuracy"] for entry in entries]
        assert accuracies == sorted(accuracies, reverse=True)


def test_page_loads_nothing_and_holds_the_counts(one: Path, tmp_path: Path) -> None:
    page = write_html([one], tmp_path / "page.html").read_text("utf-8")
    addresses = re.findall(r"""(?:src|href|srcset|action|data)\s*=\s*["']?([^"'\s>]+)""", page)
    assert [a for a in addresses if not a.startswith("#")] == []
    assert not re.search(r"<(script|link|img|iframe|object|embed)\b|@import|url\(", page)
    assert "http:" not in page
    assert "https:" not in page
    result = report_many([one])[0]
    cells = re.findall(r'<td style=[^>]*><div class="cell"><b>(\d+)</b>', page)
    assert [int(cell) for cell in cells] == [count for row in result["confusion"] for count in row]
    text = text_of(page)
    for name in ("uf1", "uar", "accuracy", "majority_accuracy", "f1_fold_mean"):
        assert f"{result[name]:.3f}" in text
    assert result["command"] in text
    assert page.count("<g><title>") == 68


def test_words_lead_to_their_definitions_on_the_page(one: Path, tmp_path: Path) -> None:
    page = write_html([one], tmp_path / "page.html").read_text("utf-8")
    linked = set(re.findall(r'href="#term-([\w-]+)"', page))
    assert linked == set(re.findall(r'id="term-([\w-]+)"', page)) > {"uf1", "uar", "interval-95", "ledger"}
    assert definitions()["UF1"] in text_of(page)


def test_page_is_well_formed(three: Path, one: Path, tmp_path: Path) -> None:
    page = write_html([one, three], tmp_path / "page.html").read_text("utf-8")
    empty = {"meta", "br", "col", "rect", "polygon", "polyline"}
    stack: list[str] = []
    ids: list[str] = []
    headings: list[int] = []

    class Checker(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            ids.extend(value or "" for name, value in attrs if name == "id")
            if re.fullmatch(r"h[1-6]", tag):
                headings.append(int(tag[1]))
            if tag not in empty:
                stack.append(tag)

        def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            pass

        def handle_endtag(self, tag: str) -> None:
            assert stack.pop() == tag

    Checker().feed(page)
    assert stack == []
    assert len(ids) == len(set(ids))
    assert headings.count(1) == 1
    assert len(re.findall(r"<table", page)) == len(re.findall(r"<caption", page))
    assert not re.search(r"<th(?! ?ead)(?![^>]*scope=)[ >]", page)


def test_names_from_data_are_escaped(tmp_path: Path) -> None:
    evil = '<script>alert("x")</script>'
    run = make_run(
        tmp_path / "evil<b>",
        subjects=FEW,
        names={"c0": evil, "s1": f'"><img src=x onerror=alert(1)>{evil}'},
        settings={"system_title": evil, "protocol_warning": f"{evil} [red]", "parameters": {"p": evil}},
    )
    page = write_html([run, run], tmp_path / "page.html").read_text("utf-8")
    assert "<script" not in page
    assert "<img" not in page
    assert "<b>" not in re.sub(r"<b>(\d|[A-Za-z_])", "", page)
    assert "&lt;script&gt;" in page
    assert "[red]" in shown(report_many([run])[0])


def test_several_runs_are_compared_in_one_page(one: Path, three: Path, tmp_path: Path) -> None:
    leaky = make_run(tmp_path / "other", subjects=FEW, settings={"protocol": "lovo5", "clip_table": "ffff"})
    page = write_html([one, three, leaky], tmp_path / "page.html").read_text("utf-8")
    text = text_of(page)
    for name in ("one", "three", "other"):
        assert f">{name}</a>" in page
    assert page.count('<article class="run"') == 3
    assert "differ in their clips and protocols" in text
    assert "differ in their" not in text_of(write_html([one, three], tmp_path / "same.html").read_text("utf-8"))
    assert "± " + f"{report_many([three])[0]['spread']['uf1']['sd']:.3f}" in text


def test_page_needs_a_run_and_a_file(one: Path, tmp_path: Path) -> None:
    with pytest.raises(MienError, match="No run"):
        write_html([], tmp_path / "page.html")
    with pytest.raises(MienError, match="is a folder"):
        write_html([one], tmp_path)
    with pytest.raises(MienError, match=r"run\.json"):
        write_html([tmp_path / "nothing"], tmp_path / "page.html")


def test_spoilt_log_is_named(tmp_path: Path) -> None:
    run = make_run(tmp_path / "spoilt", subjects={"samm": 2})
    log = run / "log" / "s0-f0001.json"
    assert len(read_logs(run)) == 2
    log.write_text("{", encoding="utf-8")
    with pytest.raises(MienError) as caught:
        read_logs(run)
    assert str(log) in caught.value.found


def test_curves_are_averaged_up_to_the_last_common_epoch() -> None:
    figure = curve_figure([[4.0, 2.0, 1.0], [2.0, 1.0], []], "loss")
    assert figure is not None
    assert (figure.epochs, figure.n, figure.last, figure.bottom) == (2, 2, 1.5, 0.0)
    assert figure.top == pytest.approx(3.8)
    line = re.search(r'<polyline class="line" points="([^"]+)"', figure.svg)
    assert line is not None
    points = [float(number) for number in re.split("[ ,]", line.group(1))]
    assert points == pytest.approx([0.0, 100 * 0.8 / 3.8, 100.0, 100 * 2.3 / 3.8], abs=0.01)
    assert curve_figure([[1.0]], "loss") is None
    assert curve_figure([], "loss") is None


def test_score_bar_places_fill_tick_and_interval() -> None:
    svg = score_bar(0.5, 0.25, (0.4, 0.6))
    assert 'class="fill" x="0" y="6" width="50.00"' in svg
    assert 'class="tick" x="25.00"' in svg
    assert 'class="whisker" x="40.00" y="1" width="20.00"' in svg
