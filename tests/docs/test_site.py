"""The built site in a real browser: nothing is asked of anyone else. Needs `make docs` before and Chromium."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import docs_check
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

SITE = Path(__file__).parents[2] / "build" / "site"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
PAGES = ("index.html", "guide/casme2.html", "gallery/index.html", "methods/ststnet.html", "reference/index.html")


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@pytest.fixture
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    options = Options()
    options.binary_location = str(CHROMIUM)
    for flag in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield driver
    driver.quit()


@pytest.mark.slow
@pytest.mark.skipif(not SITE.exists(), reason="`make docs` builds the site")
@pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium and its driver are not installed")
def test_no_request_leaves_the_browser_and_no_page_is_wider_than_the_window(address: str, browser: Any) -> None:
    asked = set()
    for width in (390, 1400):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        for page in PAGES:
            browser.get(address + page)
            fits = f"return document.documentElement.scrollWidth <= {width}"
            for _ in range(50):  # tables are put into boxes that scroll after the page has come
                if browser.execute_script(fits):
                    break
                time.sleep(0.1)
            assert browser.execute_script(fits), (page, width)
            # The search reads its index now; its overlay slides in from the side, so widths are measured before.
            browser.execute_script("document.querySelector('input.md-search__input')?.focus()")
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            asked.add(message["params"]["request"]["url"])
    foreign = {url for url in asked if not url.startswith((address, "data:", "blob:", "about:", "chrome:"))}
    assert not foreign
    assert any(url.endswith("casme2.html") for url in asked)


def test_the_check_of_the_site_finds_foreign_addresses_and_dead_links(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<script src="https://cdn.example/x.js"></script><a href="b.html">b</a><a href="a.html#no">n</a>'
        '<link rel="stylesheet" href="//fonts.example/f.css"><a href="https://example.org">fine</a><h1 id="yes"></h1>'
        '<a href="#yes">fine</a>'
    )
    faults = docs_check.site_faults(tmp_path)
    assert [fault.split(": ", 1)[1] for fault in faults] == [
        "a.html#no has no such place",
        "b.html leads nowhere",
        "loads //fonts.example/f.css",
        "loads https://cdn.example/x.js",
    ]


def test_paragraphs_are_counted_apart_from_code_tables_and_lists() -> None:
    text = "One two\nthree\n\n```text\n" + "word " * 200 + "\n```\n- four five\n- six\n\n| a | b c |\n"
    found = [paragraph.split() for _, paragraph in docs_check.paragraphs(text) if paragraph.strip()]
    assert sorted(map(len, found)) == [1, 1 + 1, 2, 3, 3]


def test_a_block_of_code_out_of_place_is_a_fault(tmp_path: Path) -> None:
    page = tmp_path / "docs" / "methods" / "a.md"
    page.parent.mkdir(parents=True)
    for name in ("README.md", "docs/index.md"):
        (tmp_path / name).write_text("```python\nx = 1\n```\n")
    page.write_text("x = 1\n```\n\n```python\nimport x\n")
    assert [fault.split(": ")[0] for fault in docs_check.source_faults(tmp_path)] == [
        "docs/methods/a.md:2",
        "docs/methods/a.md:4",
    ]
