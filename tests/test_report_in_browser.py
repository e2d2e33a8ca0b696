"""The report in a browser: no errors, each link and hover, narrow windows, and how fast a large one opens.

Runs where Selenium and Chromium with its driver are installed.
"""

import shutil

import pytest
from finished import finished_trainer
from test_report import HOSTILE, hostile_trainer

from keras_ectonas.report.page import write_report

webdriver = pytest.importorskip("selenium.webdriver", reason="needs Selenium", exc_type=ImportError)
CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or DRIVER is None, reason="needs Chromium and its driver"),
]
QUIET = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*QUIET, f"--user-data-dir={tmp_path_factory.mktemp('browser')}", "--window-size=1280,900"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, tmp_path):
    def open_report(trainer, title="A search", width=1280):
        write_report(trainer, tmp_path / "report.html", title)
        browser.get("about:blank")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        browser.get((tmp_path / "report.html").as_uri())
        return browser

    return open_report


def messages(browser):
    return browser.get_log("browser")


@pytest.mark.parametrize("width", [1280, 360])
def test_every_link_is_followed(opened, width):
    browser = opened(finished_trainer(), width=width)
    lost = browser.execute_script("""
        const lost = [];
        for (const link of document.querySelectorAll("a")) {
          link.dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true, view: window}));
          const id = link.getAttribute("href").slice(1);
          const target = document.getElementById(id);
          if (location.hash !== "#" + id || target === null) { lost.push(id); continue; }
          const box = target.getBoundingClientRect();
          if (box.bottom < 0 || box.top > innerHeight) { lost.push(id + " is out of sight"); }
        }
        return lost;
    """)
    assert lost == []
    assert messages(browser) == []


def test_every_point_tells_what_it_is(opened):
    browser = opened(finished_trainer())
    points, wrong = browser.execute_script("""
        const tip = document.getElementById("tip"), wrong = [];
        const points = [...document.querySelectorAll(".point")];
        for (const point of points) {
          for (const happening of ["pointerover", "focusin"]) {
            document.dispatchEvent(new KeyboardEvent("keydown", {key: "Escape"}));
            if (!tip.hidden) { wrong.push("not hidden"); }
            point.firstElementChild.dispatchEvent(new Event(happening, {bubbles: true}));
            const box = tip.getBoundingClientRect();
            if (tip.hidden || tip.textContent !== point.getAttribute("aria-label")) { wrong.push(point.href); }
            if (box.left < 0 || box.right > innerWidth) { wrong.push("out of the window"); }
          }
        }
        return [points.length, wrong];
    """)
    assert points > 60
    assert wrong == []


def test_pointer_and_keyboard_reach_the_points(opened):
    browser = opened(finished_trainer())
    point = browser.find_element("css selector", "#front .member")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", point)
    webdriver.ActionChains(browser).pause(0.3).move_to_element(point).perform()
    tip = browser.find_element("id", "tip")
    assert tip.is_displayed()
    assert tip.text.startswith("On the front: candidate")
    webdriver.ActionChains(browser).send_keys(webdriver.Keys.ESCAPE).perform()
    assert not tip.is_displayed()
    browser.execute_script("arguments[0].parentElement.focus()", point)
    assert tip.is_displayed()
    webdriver.ActionChains(browser).send_keys(webdriver.Keys.ENTER).perform()
    assert "#candidate-" in browser.current_url


def test_first_tab_offers_to_skip(opened):
    browser = opened(finished_trainer())
    webdriver.ActionChains(browser).send_keys(webdriver.Keys.TAB).perform()
    assert browser.switch_to.active_element.text == "Skip to the report"


@pytest.mark.parametrize("width", [1280, 768, 320])
def test_page_is_no_wider_than_the_window(opened, width):
    browser = opened(hostile_trainer(), "A" * 200, width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_hostile_names_do_nothing(opened):
    browser = opened(hostile_trainer(), HOSTILE[0])
    browser.execute_script("""
        for (const point of document.querySelectorAll(".point")) {
          point.firstElementChild.dispatchEvent(new Event("pointerover", {bubbles: true}));
        }
    """)
    assert browser.title == HOSTILE[0]
    assert browser.execute_script("return document.body.dataset.hacked") is None
    assert browser.execute_script("return document.querySelectorAll('img, script').length") == 1
    assert messages(browser) == []


def test_policy_stops_what_is_put_in_later(opened):
    browser = opened(finished_trainer())
    browser.execute_script("document.body.insertAdjacentHTML('beforeend', arguments[0])", HOSTILE[1])
    assert browser.execute_script("return document.body.dataset.hacked") is None
    assert any("Content Security Policy" in message["message"] for message in messages(browser))


def test_thousand_candidates_open_in_two_seconds(opened):
    trainer = finished_trainer(budget=1000, max_children=30, n_parents=4, epochs_per_match=0.2, max_params=3000)
    assert len(trainer.candidates_["id"]) >= 1000
    browser = opened(trainer)
    # Until the second frame after loading, when the first one has been painted.
    painted = browser.execute_async_script("""
        const done = arguments[arguments.length - 1];
        requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now())));
    """)
    assert 0 < painted < 2000, f"{painted:.0f} ms"
    assert messages(browser) == []
