"""`headstart ui` and MLflow's comparison of two runs, clicked through in Chromium."""

import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.tracking.conftest import UNTRACKED, Repository

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.pipeline,
    pytest.mark.xdist_group("sync"),
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="no Chromium with its driver here; Debian: chromium chromium-driver"
    ),
]
# Seconds for a page on a machine that is busy with other things.
PATIENCE = 60


@pytest.fixture
def page(repository: Repository) -> Iterator[str]:
    """The address of `headstart ui` on a repository with two experiments that MLflow has not heard of."""
    for name, rate in (("careful", "0.1"), ("bold", "0.2")):
        repository.ok("dvc", "exp", "run", "--name", name, "-S", f"lr={rate}", env=UNTRACKED)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (repository.folder.parent / "log").open("w+") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "headstart", "ui", "--port", str(port)],
            cwd=repository.folder, env=repository.env(), stdout=log, stderr=log,
        )  # fmt: skip
        try:
            address = f"http://127.0.0.1:{port}"
            until = time.monotonic() + 3 * PATIENCE
            while not answers(address):
                log.seek(0)
                assert server.poll() is None, log.read()
                assert time.monotonic() < until, log.read()
                time.sleep(0.5)
            yield address
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(PATIENCE)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@pytest.fixture
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1600,1400"):
        options.add_argument(argument)
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def test_two_runs_are_compared_side_by_side(page: str, browser: webdriver.Chrome) -> None:
    wait = WebDriverWait(browser, PATIENCE)

    def text() -> str:
        return browser.find_element(By.TAG_NAME, "body").text

    def rows():
        return browser.find_elements(By.CSS_SELECTOR, "input[aria-label^='Press Space to toggle row selection']")

    browser.get(f"{page}/#/experiments/1/runs")
    # Three executions, and the stages folded away below them.
    wait.until(lambda _: len(rows()) == 3)
    wait.until(lambda _: "careful" in text() and "bold" in text())
    assert "train_head" not in text()
    # The newest first.
    for row in (0, 1):
        wait.until(lambda _: rows())[row].click()
    button = "[data-testid='runs-compare-button']"
    wait.until(lambda _: browser.find_element(By.CSS_SELECTOR, button).is_enabled())
    browser.find_element(By.CSS_SELECTOR, button).click()
    wait.until(lambda _: "Comparing 2 Runs" in text())
    wait.until(lambda _: "accuracy" in text() and "lr" in text())
    said = text()
    assert "careful" in said
    assert "bold" in said
    assert "0.9" in said
    assert "0.8" in said
