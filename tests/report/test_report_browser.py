"""The report in a browser: what a person does with it. Skipped where there is none."""

import os
import shutil

import numpy as np
import pytest

from skclipad.datasets import make_defect_images
from skclipad.report import write_report

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
# Where a browser must be there, its absence is a failure.
REQUIRED = os.environ.get("SKCLIPAD_REQUIRE_BROWSER")
pytestmark = pytest.mark.skipif(
    not (CHROMIUM and DRIVER or REQUIRED),
    reason="needs chromium and chromedriver (Debian: the packages chromium and "
    "chromium-driver)",
)
OPTIONS = """--headless=new --no-sandbox --disable-gpu --no-first-run
--disable-background-networking --disable-component-update --disable-sync
--disable-quic --window-size=1280,1000""".split()
NASTY = "<img src=x onerror=document.title='taken'>.png"
N = 130
# Some of these need a second line just where the ending stands.
DEEP = [f"parts/line-3/bad/deeper/camera-07/{'x' * n}.jpg" for n in range(10, 40)]
DEEP.append("parts/line-3/good.jpg")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """A report of 130 pictures, three pages of them; the last has no score."""
    bunch = make_defect_images(10, image_size=48, random_state=0)
    rows = np.arange(N) % 10
    scores = np.linspace(0.99, 0.01, N)
    scores[-1] = np.nan
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(
        path,
        bunch.images[rows],
        scores,
        names=[NASTY, *(f"picture-{i:03d}.png" for i in range(1, N))],
        components={"s_pr": scores[::-1].copy(), "s_fnn": scores},
        labels=bunch.target[rows],
        maps=[np.eye(8) if i < 100 else None for i in range(N)],
        title="A report",
    )
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for option in [*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield browser
    browser.quit()


@pytest.fixture
def page(browser, report):
    browser.get(report.as_uri())
    yield browser
    # No error of the page, and nothing that its policy had to forbid.
    assert browser.get_log("browser") == []
    assert browser.title == "A report"


def find(page, selector):
    return page.find_element(By.CSS_SELECTOR, selector)


def scores(page):
    cards = page.find_elements(By.CSS_SELECTOR, ".card .score")
    return [card.text for card in cards]


def test_highest_scores_come_first_sixty_a_page(page):
    assert len(scores(page)) == 60
    assert scores(page)[:2] == ["0.990", "0.982"]
    assert find(page, "#page").text == "Page 1 of 3"
    find(page, "#last").click()
    assert len(scores(page)) == 10 and scores(page)[-1] == "–"


def test_a_name_with_markup_is_shown_as_it_is(page):
    assert find(page, ".card .name").text == NASTY
    images = page.find_elements(By.CSS_SELECTOR, "img")
    assert all(image.get_attribute("src").startswith("data:") for image in images)


def test_pictures_are_drawn_with_their_maps_over_them(page):
    sizes = page.execute_script(
        "return [...document.querySelectorAll('.card:first-child img')]"
        ".slice(0, 2).map(i => [i.naturalWidth, i.clientWidth, i.clientHeight])"
    )
    (picture, width, height), (heat, *over) = sizes
    assert (picture, heat) == (48, 8) and over == [width, height] and width > 100


def test_sorting_by_another_score_and_turning_the_order(page):
    Select(find(page, "#sort")).select_by_visible_text("s_pr")
    assert scores(page)[0] == "–" and scores(page)[1] == "0.018"
    find(page, "#direction").click()
    assert scores(page)[0] == "0.982"
    Select(find(page, "#sort")).select_by_visible_text("name")
    names = [n.text for n in page.find_elements(By.CSS_SELECTOR, ".card .name")]
    assert names == sorted(names)


def test_filters_by_name_label_and_score(page):
    find(page, "#search").send_keys("PICTURE-01")
    assert find(page, "#found").text == "10 pictures"
    find(page, "#from").send_keys("0.9")
    assert find(page, "#found").text == "2 pictures"
    find(page, "#clear").click()
    assert find(page, "#found").text == "Pictures 1 to 60 of 130"
    show = Select(find(page, "#show"))
    show.select_by_visible_text("Not scored")
    assert scores(page) == ["–"]
    assert "it has no score" in find(page, ".card").text
    show.select_by_visible_text("Above the threshold")
    assert find(page, "#found").text == "Pictures 1 to 60 of 65"


def test_where_nothing_matches_the_page_says_so_and_leads_back(page):
    assert not find(page, "#nothing").is_displayed()
    find(page, "#search").send_keys("no such name")
    assert not find(page, "#found").is_displayed()
    assert find(page, "#nothing").text.startswith("No picture matches.")
    find(page, "#back").click()
    assert find(page, "#found").text == "Pictures 1 to 60 of 130"
    assert not find(page, "#nothing").is_displayed()


def test_the_page_counts_what_was_scored(page):
    assert find(page, "#summary").text == "130 pictures: 129 scored, 1 not"


def test_the_threshold_moves_counts_and_words(page):
    assert find(page, "#above").text.startswith("65 pictures of 129 above 0.500")
    page.execute_script(
        "const t = document.getElementById('threshold'); t.value = 0.985;"
        "t.dispatchEvent(new Event('input'))"
    )
    assert find(page, "#above").text.startswith("1 picture of 129 above 0.985")
    verdicts = page.find_elements(By.CSS_SELECTOR, ".card .verdict")
    assert [v.text for v in verdicts[:2]] == ["above threshold", "not above"]
    find(page, "#reset").click()
    assert find(page, "#above").text.startswith("65 pictures")


def opacity(page, selector):
    script = f"return getComputedStyle(document.querySelector('{selector}')).opacity"
    return float(page.execute_script(script))


def test_heat_maps_are_switched_on_by_button_and_key(page):
    page.execute_script(
        "for (const e of document.querySelectorAll('.heat'))"
        " e.style.transition = 'none'"
    )
    assert opacity(page, ".card .heat") == 0
    find(page, "#heat").click()
    assert find(page, "#heat").get_attribute("aria-pressed") == "true"
    assert opacity(page, ".card .heat") > 0.5
    find(page, "h1").click()
    page.switch_to.active_element.send_keys("h")
    assert opacity(page, ".card .heat") == 0


def test_a_picture_is_looked_at_closely_and_left_by_keys_alone(page):
    find(page, ".card").send_keys(Keys.ARROW_RIGHT)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert find(page, "#detail").is_displayed()
    assert find(page, "#detail-name").text == "picture-001.png"
    assert "s_fnn 0.982" in find(page, "#detail-scores").text
    assert "threshold above 0.500" in find(page, "#detail-scores").text
    page.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert find(page, "#detail-name").text == "picture-002.png"
    page.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not find(page, "#detail").is_displayed()
    assert page.switch_to.active_element.get_attribute("data-place") == "2"
    page.switch_to.active_element.send_keys("/")
    assert page.switch_to.active_element.get_attribute("id") == "search"


@pytest.fixture
def phone(page):
    page.set_window_size(390, 800)
    page.refresh()
    yield page
    page.set_window_size(1280, 1000)


def box(page, selector):
    script = "return document.querySelector(arguments[0]).getBoundingClientRect()"
    return page.execute_script(script, selector)


def test_a_phone_shows_everything_within_its_width(phone):
    width, inner = phone.execute_script(
        "return [document.documentElement.scrollWidth, innerWidth]"
    )
    assert width <= inner


def test_on_a_phone_pictures_follow_the_histogram_within_a_screen(phone):
    assert box(phone, ".card")["top"] - box(phone, "#histogram")["bottom"] < 600
    assert not find(phone, "#sort").is_displayed()
    find(phone, "#more summary").click()
    Select(find(phone, "#sort")).select_by_visible_text("s_pr")
    assert scores(phone)[1] == "0.018"


@pytest.mark.parametrize("width", [390, 1280])
def test_names_break_between_folders_and_never_in_the_ending(browser, tmp_path, width):
    path = tmp_path / "report.html"
    scores = np.linspace(1, 0, len(DEEP))
    write_report(path, np.zeros((len(DEEP), 8, 8, 3)), scores, names=DEEP)
    browser.set_window_size(width, 1000)
    browser.get(path.as_uri())
    assert find(browser, "#folder").text == "All pictures lie in parts/line-3/"
    cards = browser.find_elements(By.CSS_SELECTOR, ".card")
    assert [card.get_attribute("title") for card in cards] == DEEP
    names = [n.text for n in browser.find_elements(By.CSS_SELECTOR, ".file")]
    assert names == [name.rpartition("/")[2] for name in DEEP]
    heights = browser.execute_script(
        "return [...document.querySelectorAll('.folders span, .ending')]"
        ".map(part => part.getBoundingClientRect().height)"
    )
    assert len(heights) == 4 * 30 + 1 and max(heights) < 25  # pixels: one line each
    browser.set_window_size(1280, 1000)
