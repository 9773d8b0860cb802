"""The local page in a real browser, headless Chromium: by mouse, by keyboard, light and dark, two people at once.

`MIEN_SCREENSHOTS=FOLDER` keeps pictures of what it looks like.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import played
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from mien.io.video import write_video

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
# Where tests must be complete, a missing browser is a failure.
pytestmark = pytest.mark.skipif(
    not ((CHROMIUM and DRIVER) or os.environ.get("CI")), reason="Chromium and its driver are not installed"
)

PARTS = [(40, 58, 75, "positive"), (120, 138, 155, "surprise")]


def until(found: Callable[[], Any], seconds: float = 600) -> Any:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError("timed out")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with weights, videos, and the temporary folder of the server."""
    made = tmp_path_factory.mktemp("browser")
    played.chance_weights(made / "w.safetensors")
    write_video(made / "two.mp4", played.film(41, 190, PARTS), 100)
    write_video(made / "nobody.mkv", (np.full((64, 64), 128, np.uint8) for _ in range(60)), 100)
    (made / "text.mp4").write_bytes(b"no film at all\n" * 1000)
    with (made / "large.mp4").open("wb") as out:
        out.truncate(5 << 20)
    for name in ("temp", "downloads", "runs"):
        (made / name).mkdir()
    return made


def heed_interrupts() -> None:
    """Undo what a shell does to programs in the background, which ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """A server as a user starts it; after Ctrl-C no files are left."""
    words = ["serve", "--weights", folder / "w.safetensors", "--port", 0, "--max-mib", 4, "--json"]
    line = [sys.executable, "-c", "from mien.cli.main import main; main()", *map(str, words)]
    environment = {**os.environ, "TMPDIR": str(folder / "temp"), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        line, stdout=subprocess.PIPE, env=environment, text=True, preexec_fn=heed_interrupts
    ) as server:
        assert server.stdout is not None
        yield json.loads(server.stdout.readline())["address"]
        assert any((folder / "temp").iterdir())
        server.send_signal(signal.SIGINT)
        assert server.wait(30) == 0
    assert not any((folder / "temp").iterdir())


class User:
    """One person with a browser."""

    def __init__(self, address: str, downloads: Path, width: int = 1200, height: int = 900) -> None:
        options = Options()
        options.binary_location = str(CHROMIUM)
        for flag in (
            "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
            f"--window-size={width},{height}",
        ):  # fmt: skip
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
        self.driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)}
        )
        self.address = address
        self.driver.get(address)

    def begin_again(self) -> None:
        """Open the page as if for the first time, in a window of the usual size."""
        self.run("sessionStorage.clear(); localStorage.clear()")
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        self.driver.get(self.address)
        for kind in ("browser", "performance"):
            self.driver.get_log(kind)  # type: ignore[no-untyped-call]

    def one(self, name: str) -> Any:
        return self.driver.find_element(By.ID, name)

    def sees(self, name: str) -> bool:
        return bool(self.one(name).is_displayed())

    def send(self, film: Path) -> None:
        self.one("file").send_keys(str(film))

    def run(self, script: str) -> Any:
        return self.driver.execute_script(script)

    def dark(self, dark: bool) -> None:
        media = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [media]})

    def shoot(self, name: str, whole: bool = True, width: int = 1200) -> None:
        """Save a screenshot if `MIEN_SCREENSHOTS` is set."""
        if "MIEN_SCREENSHOTS" not in os.environ:
            return
        high = self.run("return document.documentElement.scrollHeight") if whole else 800
        size = {"width": width, "height": min(max(high, 700), 2600), "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        time.sleep(0.5)
        self.driver.save_screenshot(str(Path(os.environ["MIEN_SCREENSHOTS"]) / f"serve-{name}.png"))
        self.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    def complaints(self) -> list[str]:
        """Return the errors in the log of the browser."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]  # type: ignore[no-untyped-call]

    def asked_for(self) -> set[str]:
        """Return the hosts to which requests were sent."""
        log = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]  # type: ignore[no-untyped-call]
        sent = [m["params"]["request"]["url"] for m in log if m["method"] == "Network.requestWillBeSent"]
        return {re.sub(r"^(\w+://[^/]*/?|\w+:).*", r"\1", url) for url in sent}


@pytest.fixture(scope="module")
def browser(address: str, folder: Path) -> Iterator[User]:
    person = User(address, folder / "downloads")
    yield person
    person.driver.quit()


@pytest.fixture
def user(browser: User) -> User:
    """A person with an empty page; starting a browser for each would take seconds."""
    browser.begin_again()
    return browser


def test_video_is_sent_answered_browsed_and_downloaded(user: User, folder: Path) -> None:
    assert "lie detector" in user.one("says").text
    user.shoot("empty-light")
    user.send(folder / "two.mp4")
    until(lambda: user.sees("work"))
    shares = set()

    def answered() -> bool:
        shares.add(user.one("share").text)
        return user.sees("answer") or user.sees("failure")

    until(answered)
    assert user.sees("answer")
    assert len(shares - {""}) >= 2  # progress was seen
    assert user.one("answer-title").text == "two.mp4"
    assert user.run("return document.activeElement.id") == "answer-title"
    # All pictures are loaded, and the caution stands above them.
    until(lambda: user.run("return [...document.querySelectorAll('#body img')].every((i) => i.naturalWidth > 0)"))
    assert user.run("return document.querySelectorAll('#body img').length") in (12, 14)
    assert user.one("says").location["y"] < user.one("body").location["y"]

    # The timeline by mouse,
    bars = user.driver.find_elements(By.CSS_SELECTOR, "svg.timeline a")
    assert len(bars) == 2
    goal = user.run("return document.querySelectorAll('svg.timeline a')[1].getAttribute('href').slice(1)")
    bars[1].click()
    until(lambda: abs(user.run(f"return document.getElementById('{goal}').getBoundingClientRect().top")) < 120)
    assert user.run("return document.activeElement.id") == goal
    # and by keyboard.
    user.run("document.querySelectorAll('svg.timeline a')[1].focus()")
    keys = webdriver.ActionChains(user.driver)
    keys.send_keys(Keys.ARROW_LEFT).send_keys(Keys.ENTER).perform()
    other = user.run("return document.querySelectorAll('svg.timeline a')[0].getAttribute('href').slice(1)")
    until(lambda: user.run("return document.activeElement.id") == other)
    assert user.run("return document.querySelectorAll('.chosen').length") == 1

    # On a phone all of the timeline is seen, and on a tablet the drawing of the face does not fill the screen.
    for width in (390, 800):
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
        user.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        hidden = (
            "return [...document.querySelectorAll('#body .scroll')].filter((e) => e.scrollWidth > e.clientWidth).length"
        )
        assert user.run(hidden) == 0
        assert user.run("return Math.max(...[...document.querySelectorAll('.face')].map((e) => e.clientWidth))") <= 360
    user.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})

    until(lambda: "All files are ready" in user.one("files-note").text)
    user.run(
        "document.querySelector('.chosen').classList.remove('chosen'); document.activeElement.blur(); scrollTo(0, 0)"
    )
    user.shoot("answer-light")
    user.dark(True)
    user.shoot("answer-dark")
    user.dark(False)
    for kind in ("csv", "json", "eaf", "mp4", "html"):
        user.run(f"document.querySelector('#file-{kind} a').click()")
        kept = folder / "downloads" / f"two.{kind}"
        until(lambda kept=kept: kept.is_file() and kept.stat().st_size > 100)  # type: ignore[misc]
    assert json.loads((folder / "downloads" / "two.json").read_text())["n_events"] == 2

    # A reload shows the same answer; deleting it takes it from the server.
    user.driver.refresh()
    until(lambda: user.sees("answer"))
    token = user.run("return sessionStorage.getItem('mien-job')")
    user.run("document.getElementById('forget').click()")
    until(lambda: user.sees("ask"))
    ask = f"fetch('/api/jobs/{token}').then((answer) => arguments[0](answer.status))"
    assert user.driver.execute_async_script(ask) == 404
    assert not list((folder / "temp").rglob("*.webp"))
    assert [c for c in user.complaints() if "404" not in c] == []
    assert user.asked_for() <= {user.address, "blob:"}


def test_errors_are_shown_and_another_video_can_be_sent(user: User, folder: Path) -> None:
    user.dark(True)
    user.shoot("empty-dark")
    user.send(folder / "text.mp4")
    until(lambda: user.sees("failure"))
    assert user.one("failure-name").text == "text.mp4"
    assert user.one("found").text
    assert str(folder) not in user.one("failure").text
    user.shoot("error-dark", whole=False)
    user.dark(False)
    user.shoot("error-light", whole=False)
    user.one("again").click()
    until(lambda: user.sees("ask"))
    user.send(folder / "large.mp4")
    until(lambda: user.sees("failure"))
    assert "5 MiB" in user.one("found").text
    assert user.one("expected").text == "at most 4 MiB."
    user.one("again").click()
    dropped = (
        "const d = new DataTransfer(); for (const n of {names}) d.items.add(new File(['no film'], n));"
        "document.getElementById('drop').dispatchEvent(new DragEvent('drop', {{dataTransfer: d, bubbles: true}}))"
    )
    user.run(dropped.format(names=["a", "b"]))
    assert "2 files were dropped" in user.one("found").text
    user.one("again").click()
    user.run(dropped.format(names=["<img src=x onerror=alert(1)>.mp4"]))
    until(lambda: user.sees("failure"))
    assert user.one("failure-name").text == "<img src=x onerror=alert(1)>.mp4"
    user.one("again").click()
    user.send(folder / "nobody.mkv")
    until(lambda: user.sees("answer"))
    assert "No face was found" in user.one("body").text
    assert user.complaints() == []


def test_page_works_with_the_keyboard_and_on_narrow_screens(user: User, folder: Path) -> None:
    keys = webdriver.ActionChains(user.driver)
    seen = []
    for _ in range(8):
        keys.send_keys(Keys.TAB).perform()
        seen.append(user.run("const e = document.activeElement; return e.id || e.textContent.trim()"))
    assert seen[0] == "To the content"
    assert "file" in seen
    assert "Options" in seen
    assert user.run("return getComputedStyle(document.getElementById('drop')).outlineStyle") in ("solid", "none")
    unnamed = user.run(
        "return [...document.querySelectorAll('button, a, input')].filter((e) => !e.labels?.length && "
        "!e.textContent.trim() && !e.ariaLabel).map((e) => e.outerHTML)"
    )
    assert unnamed == []
    # A narrow window does not have to be scrolled sideways.
    size = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": True}
    user.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    assert user.run("return document.documentElement.scrollWidth") <= 360


@pytest.mark.slow
def test_two_people_see_their_own_answers(user: User, address: str, folder: Path) -> None:
    other = User(address, folder / "downloads")
    try:
        user.send(folder / "nobody.mkv")
        other.send(folder / "two.mp4")
        until(lambda: user.sees("answer") and other.sees("answer"))
        assert user.one("answer-title").text == "nobody.mkv"
        assert other.one("answer-title").text == "two.mp4"
        assert "No face was found" in user.one("body").text
        assert "2 intervals" in other.one("body").text
        tokens = {person.run("return sessionStorage.getItem('mien-job')") for person in (user, other)}
        assert len(tokens) == 2
    finally:
        other.driver.quit()
