"""Pages about runs in a real browser: 3 to 12 classes, phone to desk, light and dark, by keyboard alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
from selenium import webdriver
from selenium.webdriver.common.keys import Keys
from test_web_browser import User, pytestmark  # noqa: F401 - skipped where that is
from test_web_server import Page

from mien.evaluation.ledger import Row, fold_file, rows_as_csv
from mien.io.atomic import write_atomically

NAMES = (
    "happiness", "disgust", "surprise", "repression", "others", "sadness", "fear", "anger", "contempt",
    "happily surprised", "sadly disgusted", "tense",
)  # fmt: skip
COUNTS = (3, 5, 7, 12)
WIDTHS = (390, 800, 1400)


def write_run(run: Path, k: int) -> None:
    """Write the ledger of a run over k classes: 26 subjects of two databases, some clips without an answer."""
    random, classes = np.random.default_rng(k), NAMES[:k]
    people = [(d, f"sub{n:02d}") for d, count in (("casme2", 18), ("samm", 8)) for n in range(count)]
    settings: dict[str, Any] = {
        "version": "0.1.0", "system": "flow-svm", "system_title": "Flow and an SVM", "parameters": {"c": 1.0},
        "protocol": "loso", "protocol_parameters": {}, "protocol_warning": None, "shares_subjects": False,
        "labels": f"{k}classes", "classes": list(classes), "data": [{"name": "synthetic", "root": "corpus"}],
        "datasets": ["casme2", "samm"], "seeds": [0], "n_folds": len(people), "shuffle_labels": False,
        "synthetic": True,
    }  # fmt: skip
    write_atomically(run / "run.json", json.dumps(settings))
    for number, (dataset, subject) in enumerate(people):
        rows = []
        for clip in range(int(random.integers(2, 40))):
            label = int(random.integers(k))
            shares = random.dirichlet(np.ones(k)) + 2 * np.eye(k)[label] * (random.random() < 0.5)
            failed = k == 5 and random.random() < 0.05
            rows.append(
                Row(
                    dataset, subject, f"c{clip}", f"{dataset}-{subject}", 0, "failed" if failed else "annotated",
                    classes[label], "" if failed else classes[int(shares.argmax())],
                    () if failed else tuple((shares / shares.sum()).tolist()),
                )
            )  # fmt: skip
        write_atomically(fold_file(run, 0, number), rows_as_csv(rows, classes))


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    runs = tmp_path_factory.mktemp("runs")
    for k in COUNTS:
        write_run(runs / f"run-{k}", k)
    page = Page(None, runs)
    yield f"http://127.0.0.1:{page.port}/reports"
    page.close()


@pytest.fixture(scope="module")
def user(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[User]:
    person = User(address, tmp_path_factory.mktemp("downloads"))
    yield person
    person.driver.quit()


def resize(user: User, width: int) -> None:
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    user.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)


@pytest.mark.parametrize("names", [(), *[(f"run-{k}",) for k in COUNTS], tuple(f"run-{k}" for k in COUNTS)])
def test_page_fits_every_width_and_its_confusion_matrix_is_not_cut_off(
    user: User, address: str, names: tuple[str, ...]
) -> None:
    query = urlencode([("run", name) for name in names])
    user.driver.get(f"{address}/view?{query}" if names else address)
    for width in WIDTHS:
        resize(user, width)
        for dark in (False, True):
            user.dark(dark)
            user.shoot(f"runs-{len(names)}-{names[0] if names else 'list'}-{width}-{'dark' if dark else 'light'}",
                       width=width)  # fmt: skip
            resize(user, width)
        assert user.run("return document.documentElement.scrollWidth") <= width
        hidden = (
            "return [...document.querySelectorAll('.scroll, pre')].filter((e) => e.scrollWidth > e.clientWidth).length"
        )
        assert user.run(hidden) == 0  # nothing has to be scrolled sideways by itself either
        beyond = user.run(
            "return [...document.querySelectorAll('.confusion th, .confusion td')].filter((cell) => {"
            "  const box = cell.getBoundingClientRect(), inner = cell.querySelector('b, span');"
            "  const words = inner ? inner.getBoundingClientRect() : box;"
            "  return box.left < 0 || box.right > innerWidth || words.width > box.width + 1;"
            "}).map((cell) => cell.textContent)"
        )
        assert beyond == []
    cells = "return [...document.querySelectorAll('.confusion')].map((t) => t.querySelectorAll('tbody td').length)"
    assert user.run(cells) == [(k := int(name.removeprefix("run-"))) * (k + (k == 5)) for name in names]


@pytest.mark.parametrize("path", ["", "/view?run=run-12"])
def test_every_control_is_reached_by_the_tab_key(user: User, address: str, path: str) -> None:
    user.driver.get(address + path)
    resize(user, 390)
    wanted = user.run(
        "return [...document.querySelectorAll('a[href], button, input, summary, [tabindex=\"0\"]')]"
        ".map((e, n) => { e.dataset.n = n; return String(n); })"
    )
    reached = []
    for _ in range(len(wanted) + 3):
        webdriver.ActionChains(user.driver).send_keys(Keys.TAB).perform()
        reached.append(
            user.run(
                "const e = document.activeElement, s = getComputedStyle(e);"
                "return [e.dataset.n ?? '', s.outlineStyle !== 'none' || s.boxShadow !== 'none' || e.tabIndex < 0]"
            )
        )
    assert len(wanted) > 3
    assert set(wanted) <= {n for n, _ in reached}
    assert all(seen for n, seen in reached if n)  # the focus is visible
