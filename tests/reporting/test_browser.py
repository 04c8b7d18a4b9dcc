"""The page in a real browser: on a phone, in the dark, offline."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

from headstart.reporting import page

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver (Debian: chromium, chromium-driver)"
)
FACTS = {"name": "a-rather-long-name-of-an-experiment-without-a-place-to-break", "commit": "0" * 40, "workspace": True}
NAMES = {
    "two classes": ["functional", "defective"],
    "long names": [f"Noctilucales_scintillans_and_whatever_else_was_in_the_folder_{i}" for i in range(8)],
    "many classes": [f"class {i}" for i in range(120)],
}
PHONE = 380


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    # In a container there is neither a sandbox for the root user nor much of a /dev/shm.
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, Service(executable_path=DRIVER))
    yield driver
    driver.quit()


def show(browser: webdriver.Chrome, file: Path, *, width: int, scheme: str) -> None:
    """Open a file at a width in CSS pixels, for a reader who likes it light or dark."""
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get(file.as_uri())
    # What is folded counts as well.
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")


def luminance(browser: webdriver.Chrome, selector: str, what: str) -> float:
    """Of a colour, 0 to 1, as WCAG 2 defines it."""
    script = "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]].match(/[0-9.]+/g)"
    parts = [float(part) / 255 for part in browser.execute_script(script, selector, what)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("names", NAMES.values(), ids=NAMES)
def test_the_page_fits_a_phone_and_reads_in_the_dark(
    browser: webdriver.Chrome, leave: Callable[..., dict[str, bytes]], tmp_path: Path, names: list[str]
) -> None:
    file = tmp_path / "index.html"
    file.write_text(page.render(leave(names, n=240).get, FACTS, None), encoding="utf-8")
    for scheme, dark in (("light", False), ("dark", True)):
        show(browser, file, width=PHONE, scheme=scheme)
        assert browser.execute_script("return innerWidth") == PHONE
        assert browser.execute_script("return document.documentElement.scrollWidth") <= PHONE
        ground, text = luminance(browser, "body", "backgroundColor"), luminance(browser, "body", "color")
        assert (ground < 0.05) == dark
        # WCAG's 4.5 to 1, for what is printed small and softly as well.
        for colour in (text, luminance(browser, "small", "color"), luminance(browser, "h1 + p", "color")):
            assert (max(ground, colour) + 0.05) / (min(ground, colour) + 0.05) >= 4.5
        # A chart's letters follow; its lines do, too.
        assert luminance(browser, "svg text", "fill") == pytest.approx(text)
        assert (luminance(browser, "svg .line.s0", "stroke") > ground) == dark
    show(browser, file, width=1200, scheme="light")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= 1200
    sizes = browser.execute_script("return [...document.images].map(image => image.complete && image.naturalWidth)")
    assert len(sizes) == 3 * 24
    assert all(sizes)
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert all(name.startswith("data:") for name in loaded)


def test_what_is_folded_opens_at_a_click_and_the_data_are_a_click_away(
    browser: webdriver.Chrome, leave: Callable[..., dict[str, bytes]], tmp_path: Path
) -> None:
    file = tmp_path / "index.html"
    file.write_text(page.render(leave(NAMES["many classes"], n=480).get, FACTS, None), encoding="utf-8")
    (tmp_path / "data.html").write_text("<!DOCTYPE html><title>the data</title>", encoding="utf-8")
    browser.get(file.as_uri())
    folded = browser.find_elements("css selector", "details")
    assert folded
    for each in folded:
        inside = each.find_element("css selector", "summary ~ *")
        assert not inside.is_displayed()
        each.find_element("css selector", "summary").click()
        assert inside.is_displayed()
    browser.find_element("link text", "The page about the data").click()
    assert browser.title == "the data"
