"""The report in a browser: what a person does with it. Skipped where there is none."""

import csv
import os
import shutil
import time

import numpy as np
import pytest

from skclipad._images.reading import image_identity
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
        maps=[np.eye(8) * (i < 60) if i < 100 else None for i in range(N)],
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
    browser.execute_script("localStorage.clear()")
    browser.refresh()
    yield browser
    # No error of the page, and nothing that its policy had to forbid.
    assert browser.get_log("browser") == []
    assert browser.title == "A report"


def find(page, selector):
    return page.find_element(By.CSS_SELECTOR, selector)


def texts(page, selector):
    """Return what is written in all elements, asked for at once."""
    script = "return [...document.querySelectorAll(arguments[0])].map(x => x.innerText)"
    return page.execute_script(script, selector)


def scores(page):
    return texts(page, ".card .score")


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
    names = texts(page, ".card .name")
    assert names == sorted(names)


def test_filters_by_name_label_and_score(page):
    assert not find(page, "#clear").is_displayed()
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


def test_the_scale_of_the_maps_is_written_beside_its_colours(page):
    said = find(page, ".scale").text.split()
    assert " ".join(said) == "Heat maps: clear to 0.000 1.000"
    image = page.execute_script(
        "return getComputedStyle(document.querySelector('.ramp')).backgroundImage"
    )
    assert image.startswith("linear-gradient(to right, rgba(13, 8, 135, 0)")
    find(page, ".card").click()
    assert "highest of the map 1.000" in find(page, "#detail-scores").text
    assert find(page, "#detail .scale").is_displayed()


def test_boxes_lie_where_they_are_and_are_switched_off_by_key(page, tmp_path):
    boxes = [[(20, 5, 10, 15, 150, 0.9), (0, 0, 40, 20)], [], None]
    open_report(
        page,
        tmp_path / "boxes.html",
        np.zeros((3, 20, 40, 3)),
        [0.9, 0.5, 0.1],
        boxes=boxes,
    )
    frame, inner = box(page, ".card .frame"), box(page, ".card .box")
    for side, share in (("width", 0.25), ("height", 0.75)):
        assert inner[side] == pytest.approx(share * frame[side], abs=0.1)
    assert inner["x"] - frame["x"] == pytest.approx(frame["width"] / 2, abs=0.1)
    assert inner["y"] - frame["y"] == pytest.approx(frame["height"] / 4, abs=0.1)
    assert len(page.find_elements(By.CSS_SELECTOR, ".box")) == 2

    find(page, "h1").click()
    page.switch_to.active_element.send_keys("b")
    assert not find(page, ".box").is_displayed()
    assert find(page, "#boxes").get_attribute("aria-pressed") == "false"
    find(page, "#boxes").click()
    assert find(page, ".box").is_displayed()
    find(page, ".card").click()
    assert "boxes 2" in find(page, "#detail-scores").text
    find(page, "#detail-next").click()
    assert "boxes none" in find(page, "#detail-scores").text


@pytest.mark.parametrize("kind", ["box", "mask"])
def test_the_region_is_outlined_where_it_lies(kind, page, tmp_path):
    assert not find(page, "#region").is_displayed()
    mask = np.zeros((20, 40), bool)
    mask[5:20, 10:20] = True
    region = mask if kind == "mask" else (10, 5, 10, 15)
    images = np.zeros((2, 20, 40, 3))
    open_report(page, tmp_path / "region.html", images, [0.9, 0.1], region=region)
    assert "looked at" in find(page, "#region").text
    frame, outline = box(page, ".card .frame"), box(page, ".region .dashed")
    for side, share in (("width", 0.25), ("height", 0.75)):
        assert outline[side] == pytest.approx(share * frame[side], abs=0.5)
    assert outline["x"] - frame["x"] == pytest.approx(frame["width"] / 4, abs=0.5)
    assert outline["y"] - frame["y"] == pytest.approx(frame["height"] / 4, abs=0.5)
    assert len(page.find_elements(By.CSS_SELECTOR, "#gallery .region")) == 2
    find(page, ".card").click()
    assert find(page, "#detail .region .dashed").is_displayed()


def test_the_reference_is_drawn_over_the_histogram_and_what_differs_is_said(
    page, tmp_path
):
    assert not find(page, "#drift").is_displayed()
    reference = np.append(np.linspace(0.001, 0.019, 150), np.linspace(0.981, 0.999, 50))
    open_report(
        page,
        tmp_path / "drift.html",
        np.zeros((40, 4, 4, 3)),
        np.linspace(0.4, 0.6, 40),
        reference=reference,
    )
    assert find(page, "#drift").text.startswith("Drift: these 40 scores are not")
    assert "200 scores of the reference" in find(page, "#histogram").text
    line = find(page, "#histogram path.reference").get_attribute("d")
    # Three quarters of the pictures in the first bin, the highest; a third as many
    # in the last.
    assert line.startswith("M0 100V2H1V100H2") and line.endswith("H50V100")
    assert float(line.split("V")[-2].partition("H")[0]) == pytest.approx(100 - 98 / 3)


def test_a_page_without_boxes_has_no_button_for_them(page):
    assert not find(page, "#boxes").is_displayed()


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


# Labels


def distinct(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 8, 8, 3), np.uint8)


def open_report(browser, path, images, scores, **more):
    """Write a report titled as `page` expects, and open it."""
    write_report(path, images, scores, title="A report", **more)
    browser.get(path.as_uri())


@pytest.fixture
def labelled(page, tmp_path):
    """A page of 30 pictures that differ, none of them labelled."""
    names = [NASTY, 'a, "b".png', *(f"{i:02d}.png" for i in range(2, 30))]
    open_report(
        page, tmp_path / "r.html", distinct(30), np.linspace(0.9, 0.32, 30), names=names
    )
    return page


def press_keys(page, keys):
    for key in keys:
        page.switch_to.active_element.send_keys(key)


def pressed(page):
    """Return what is said of each card: "good", "damaged" or "", in order."""
    return page.execute_script(
        "return [...document.querySelectorAll('#gallery li')].map(item => "
        "item.querySelector('[aria-pressed=true]')?.textContent ?? '')"
    )


def test_a_key_labels_the_card_in_focus_and_goes_to_the_next(labelled):
    assert find(labelled, "#labelled").text.startswith("None yet.")
    find(labelled, ".card").send_keys("d")
    press_keys(labelled, "dgd")
    assert pressed(labelled)[:5] == ["damaged", "damaged", "good", "damaged", ""]
    assert labelled.switch_to.active_element.get_attribute("data-place") == "4"
    press_keys(labelled, "uu")
    assert pressed(labelled)[:5] == ["damaged", "damaged", "", "", ""]
    assert labelled.switch_to.active_element.get_attribute("data-place") == "2"


def test_the_page_tells_what_the_threshold_would_find(labelled):
    find(labelled, ".card").send_keys("d")
    press_keys(labelled, "g" + Keys.ARROW_RIGHT * 25 + "d")
    said = "3 of 30 pictures labelled: 2 damaged, 1 good. The threshold 0.500 finds "
    assert find(labelled, "#labelled").text == (
        said + "1 of 2 damaged and raises 1 false alarm among 1 good."
    )
    labelled.execute_script(
        "const t = document.getElementById('threshold'); t.value = 0.3;"
        "t.dispatchEvent(new Event('input'))"
    )
    assert "finds 2 of 2 damaged" in find(labelled, "#labelled").text
    Select(find(labelled, "#show")).select_by_visible_text("False alarms")
    assert texts(labelled, ".name") == ['a, "b".png']


def test_labelling_shows_the_ten_worst_and_then_what_is_near_the_threshold(labelled):
    find(labelled, "#label").click()
    names = []
    for _ in range(13):
        names.append(find(labelled, "#detail-name").text)
        press_keys(labelled, "g")
    assert names[2:10] == [f"{i:02d}.png" for i in range(2, 10)]
    assert names[10:] == ["20.png", "19.png", "21.png"]  # 0.50, 0.52, 0.48
    press_keys(labelled, "u")
    assert find(labelled, "#detail-name").text == "21.png"
    assert find(labelled, "#detail-labelled").text == (
        "12 of 30 pictures labelled: 0 damaged, 12 good."
    )
    press_keys(labelled, Keys.ESCAPE)
    find(labelled, "#label").click()  # goes on with what has no label
    assert find(labelled, "#detail-name").text == "21.png"


def test_answers_that_contradict_the_threshold_say_where_labels_are_needed(
    page, tmp_path
):
    # All lie far below the threshold, and those from 12.png on are good.
    names = [f"{i:02d}.png" for i in range(30)]
    path = tmp_path / "r.html"
    open_report(page, path, distinct(30), np.linspace(0.4, 0.11, 30), names=names)
    find(page, "#label").click()
    asked = []
    for _ in range(14):
        asked.append(find(page, "#detail-name").text)
        press_keys(page, "d" if asked[-1] < "12.png" else "g")
    assert asked[:10] == names[:10]
    # From the middle of what is left towards where good and damaged meet.
    assert asked[10:] == ["20.png", "15.png", "12.png", "11.png"]
    press_keys(page, "u")
    assert find(page, "#detail-name").text == asked[-1]
    press_keys(page, Keys.ESCAPE)
    assert pressed(page)[:14] == ["damaged"] * 10 + ["good"] * 3 + [""]


def test_where_every_picture_has_a_label_nothing_is_asked(page):
    find(page, "#label").click()
    assert not find(page, "#detail").is_displayed()
    assert find(page, "#opened").text == "Every picture has a label."
    assert len(scores(page)) == 60


def test_labels_are_found_again_in_every_report_of_the_same_pictures(
    labelled, tmp_path
):
    find(labelled, ".card").send_keys("d")
    press_keys(labelled, "g")
    labelled.refresh()
    assert pressed(labelled)[:3] == ["damaged", "good", ""]
    # Other names, other scores, other pictures among them.
    images = [*distinct(3)[::-1], *distinct(3, seed=1)]
    open_report(labelled, tmp_path / "other.html", images, np.linspace(1, 0, 6))
    assert pressed(labelled) == ["", "good", "damaged", "", "", ""]


def downloaded(page, folder, key):
    page.execute_cdp_cmd(
        "Browser.setDownloadBehavior",
        {"behavior": "allow", "downloadPath": str(folder)},
    )
    press_keys(page, key)
    path = folder / "labels.csv"
    for _ in range(100):
        if path.exists():
            return path
        time.sleep(0.1)
    raise AssertionError(f"nothing but {os.listdir(folder)} was saved")


def test_labels_are_saved_and_opened_as_a_table(labelled, tmp_path):
    find(labelled, ".card").send_keys("d")
    press_keys(labelled, "gg")
    (tmp_path / "saved").mkdir()
    assert find(labelled, "#opened").text == ""
    path = downloaded(labelled, tmp_path / "saved", "s")
    assert find(labelled, "#opened").text.startswith("3 labels saved as labels.csv")
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    keys = [image_identity(image)[:16] for image in distinct(3)]
    assert rows == [
        ["path", "label", "picture"],
        [NASTY, "1", keys[0]],
        ['a, "b".png', "0", keys[1]],
        ["02.png", "0", keys[2]],
    ]

    find(labelled, "#forget").click()
    labelled.switch_to.alert.accept()
    assert find(labelled, "#labelled").text.startswith("None yet.")
    with open(path, "a", newline="", encoding="utf-8") as file:
        file.write('"elsewhere.png",damaged\r\n29.png,Damaged\r\n')
        file.write("28.png,1,that of another picture\r\n")
    find(labelled, "#file").send_keys(str(path))
    wait_for(lambda: find(labelled, "#opened").text)
    said = find(labelled, "#opened").text
    assert said == "labels.csv: 6 labels, 4 of pictures on this page."
    assert pressed(labelled)[:3] == ["damaged", "good", "good"]
    assert pressed(labelled)[28:] == ["", "damaged"]


@pytest.mark.parametrize(
    "text, reason",
    [
        ("name,label\na,1\n", "it has no columns path and label"),
        ("path,label\na,maybe\n", "the label of a is maybe, but expected 0 or 1"),
        ("", "it has no columns path and label"),
    ],
)
def test_a_file_that_holds_no_labels_is_not_read(text, reason, labelled, tmp_path):
    (tmp_path / "x.csv").write_text(text)
    find(labelled, "#file").send_keys(str(tmp_path / "x.csv"))
    wait_for(lambda: find(labelled, "#opened").text)
    assert find(labelled, "#opened").text == f"x.csv was not read: {reason}."


def wait_for(condition):
    for _ in range(100):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not come about")


def test_a_browser_that_keeps_nothing_says_so_and_labels_all_the_same(labelled):
    command = "Page.addScriptToEvaluateOnNewDocument"
    source = "Object.defineProperty(window, 'localStorage', {get() {throw Error()}})"
    script = labelled.execute_cdp_cmd(command, {"source": source})
    labelled.refresh()
    labelled.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)
    assert find(labelled, "#unkept").is_displayed()
    find(labelled, ".card").send_keys("d")
    assert pressed(labelled)[0] == "damaged"


def test_another_window_shows_a_label_at_once(labelled):
    first, url = labelled.current_window_handle, labelled.current_url
    labelled.switch_to.new_window("tab")
    labelled.get(url)
    find(labelled, ".card").send_keys("d")
    labelled.close()
    labelled.switch_to.window(first)
    wait_for(lambda: pressed(labelled)[0] == "damaged")


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
    names = texts(browser, ".file")
    assert names == [name.rpartition("/")[2] for name in DEEP]
    heights = browser.execute_script(
        "return [...document.querySelectorAll('.folders span, .ending')]"
        ".map(part => part.getBoundingClientRect().height)"
    )
    assert len(heights) == 4 * 30 + 1 and max(heights) < 25  # pixels: one line each
    browser.set_window_size(1280, 1000)
