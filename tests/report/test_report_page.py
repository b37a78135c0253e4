"""The report's page as text: whole, self-contained, and safe to open."""

import base64
import hashlib
import io
import json
import re

import numpy as np
import pytest
from detectors import tiny
from PIL import Image

from skclipad.report import describe_run, write_report

NASTY = [
    "<img src=x onerror=alert(1)>.png",
    "</script><script>alert(1)</script>.png",
    "<!--<script>.png",
    "a & b \"quoted\" 'single'.png",
    "$title ${data} \\u003c.png",
    "\udce9\u2028\u202e日本.png",
]


def pictures(n, size=(20, 30)):
    rng = np.random.default_rng(0)
    return list(rng.integers(0, 256, (n, *size, 3), np.uint8))


def written(tmp_path, images, scores, **more):
    path = tmp_path / "report.html"
    assert write_report(path, images, scores, **more) is None
    return path.read_text(encoding="utf-8")


def block(page, name):
    """Return what an element with JSON holds, as a browser would find its end."""
    (text,) = re.findall(
        rf'<script type="application/json" id="{name}">(.*?)</script>', page, re.S
    )
    return json.loads(text)


def opened(data):
    return Image.open(io.BytesIO(base64.b64decode(data)))


def test_rows_are_in_order_of_their_scores_and_keep_together(tmp_path):
    images = [Image.new("RGB", (9, 9), (v, v, v)) for v in (0, 80, 160, 240)]
    page = written(
        tmp_path,
        images,
        [0.3, np.nan, 0.9, 0.5],
        names=list("abcd"),
        components={"s_pr": [0.1, np.nan, 0.3, 0.4]},
        labels=[0, 0, 1, 1],
        errors=[None, "broken", None, None],
        maps=[None, None, np.eye(4), np.zeros((4, 4))],
        threshold=0.4,
    )
    data = block(page, "data")
    assert data["names"] == ["c", "d", "a", "b"]
    assert data["scores"] == [0.9, 0.5, 0.3, None]
    assert data["components"] == {"s_pr": [0.3, 0.4, 0.1, None]}
    assert data["labels"] == [1, 1, 0, 0]
    assert data["errors"] == [None, None, None, "broken"]
    assert data["hasMap"] == [True, True, False, False]
    assert (data["threshold"], data["peaks"]) == (0.4, [1, 0, None, None])
    greys = [np.asarray(opened(p["jpg"])).mean() for p in block(page, "pictures-0")]
    assert greys == pytest.approx([160, 240, 0, 80], abs=3)


def test_nothing_comes_from_elsewhere_and_the_policy_forbids_it(tmp_path):
    page = written(tmp_path, pictures(3), [0.1, 0.2, 0.3])
    assert not re.findall(
        r"(?:https?:)?//[a-z]", page.replace("http://www.w3.org/", "")
    )
    assert not re.findall(r"<(?:link|iframe|object|embed|base|form action)", page)
    assert not re.findall(r"<[^>]*\s(?:style|on\w+)\s*=", page)
    (policy,) = re.findall(r'"Content-Security-Policy" content="(.*?)"', page)
    assert "default-src 'none'" in policy and "unsafe" not in policy
    for kind in ("script", "style"):
        (text,) = re.findall(rf"<{kind}>(.*?)</{kind}>", page, re.S)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


@pytest.mark.parametrize("name", NASTY)
def test_names_stay_text(name, tmp_path):
    page = written(
        tmp_path,
        pictures(1),
        [0.5],
        names=[name],
        errors=[name],
        title=name.encode("utf-8", "replace").decode(),
        settings={name.encode("utf-8", "replace").decode(): {"<b>": "<i>"}},
    )
    data = block(page, "data")
    expected = name.encode("utf-8", "backslashreplace").decode()
    assert data["names"] == [expected]
    # Tags of the page itself, and none besides.
    assert "<img" not in page and page.count("<script") == 3
    assert "<b>" not in page and "<i>" not in page and "&lt;b&gt;" in page


def test_paths_are_names_and_other_pictures_have_numbers(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(pictures(1)[0]).save(path)
    page = written(tmp_path, [str(path), path, pictures(1)[0]], [0.3, 0.2, 0.1])
    assert block(page, "data")["names"] == [str(path), str(path), "picture 2"]


@pytest.mark.parametrize(
    "names, folder",
    [
        (["photos/a/1.jpg", "photos/ab/2.jpg"], "photos/"),
        (["photos/a/1.jpg"], "photos/a/"),
        (["/a.png", "/b.png"], "/"),
        (["pill: crack", "pill: cut"], ""),
        (["x/a.png", "y/a.png"], ""),
    ],
)
def test_the_folder_common_to_all_names_is_told_once(names, folder, tmp_path):
    scores = np.linspace(1, 0, len(names))
    page = written(tmp_path, pictures(len(names)), scores, names=names)
    data = block(page, "data")
    assert (data["names"], data["folder"]) == (names, folder)


def test_scores_are_explained_where_they_are_shown(tmp_path):
    parts = {"s_pr": [0.5], "sharpness": [0.1]}
    page = written(tmp_path, pictures(1), [0.5], components=parts)
    assert "<p><b>s_pr</b> compares the picture with the prompts" in page
    assert "<p><b>score</b> is the mean" in page
    assert page.count("<b>") == 2  # nothing of s_fnn, s_img and what is not ours
    assert "<b>" not in written(tmp_path, pictures(1), [0.5])


def test_notes_stand_at_the_top_and_not_among_the_settings(tmp_path):
    settings = {"Notes": {"n": "a < b"}, "Run": {"k": "v"}}
    page = written(tmp_path, pictures(1), [0.5], settings=settings)
    assert page.count("a &lt; b") == 1
    assert page.index("<p class=note>a &lt; b</p>") < page.index("<main>")
    assert list(settings) == ["Notes", "Run"]  # the caller's own stay as they are


def test_a_picture_that_cannot_be_read_has_no_thumbnail(tmp_path):
    (tmp_path / "bad.png").write_text("no picture")
    page = written(tmp_path, [tmp_path / "bad.png", pictures(1)[0]], [0.9, 0.1])
    assert [bool(p) for p in block(page, "pictures-0")] == [False, True]


@pytest.mark.parametrize("size, expected", [((300, 600), (256, 128)), ((8, 8), (8, 8))])
def test_thumbnails_keep_proportions_and_never_grow(size, expected, tmp_path):
    page = written(tmp_path, pictures(1, size), [0.5])
    (picture,) = block(page, "pictures-0")
    assert (picture["w"], picture["h"]) == opened(picture["jpg"]).size == expected


def test_noise_stays_within_its_share_of_thirty_megabytes(tmp_path):
    # The worst there is: nothing in it can be compressed.
    page = written(tmp_path, pictures(30, (400, 400)), np.linspace(0, 1, 30))
    assert len(page) < 30 * 30_000


def test_pictures_come_in_chunks_of_a_page(tmp_path):
    page = written(tmp_path, pictures(130, (4, 4)), np.linspace(0, 1, 130))
    assert [len(block(page, f"pictures-{i}")) for i in range(3)] == [60, 60, 10]


def heat_maps(page):
    return [
        picture["png"] and np.asarray(opened(picture["png"]).convert("RGBA"))
        for picture in block(page, "pictures-0")
    ]


def test_maps_share_one_scale_and_what_is_usual_is_clear(tmp_path):
    # The lower half by score is usual: 0.2, and a tenth of its area 0.3.
    usual = np.full((10, 10), 0.2)
    usual[0] = 0.3
    find = np.full((10, 10), 0.2)
    find[2:4], find[6] = 0.9, 0.6
    maps = [find, np.full((4, 4), 0.25), usual, usual, [[np.nan]], None]
    page = written(tmp_path, pictures(6), [0.9, 0.8, 0.3, 0.2, 0.1, np.nan], maps=maps)
    data = block(page, "data")
    assert data["scale"] == [0.3, 0.9]
    assert data["peaks"] == [0.9, 0.25, 0.3, 0.3, None, None]
    found, *others = (None if one is None else one[..., 3] for one in heat_maps(page))
    assert found[0, 0] == 0 < found[6, 0] < found[2, 0] == 217
    assert [one.max() for one in others[:4]] == [0, 0, 0, 0] and others[4] is None


def test_where_nothing_is_found_nothing_shines(tmp_path):
    rng = np.random.default_rng(0)
    maps = list(0.3 + 0.02 * rng.random((20, 8, 8)))
    page = written(tmp_path, pictures(20), np.linspace(0, 1, 20), maps=maps)
    low, high = block(page, "data")["scale"]
    assert high == pytest.approx(low + 0.1)
    assert max(one[..., 3].max() for one in heat_maps(page)) < 5


def test_without_maps_of_usual_pictures_half_of_the_area_is_clear(tmp_path):
    maps = [np.linspace(0, 1, 101)[None], None, None]
    page = written(tmp_path, pictures(3), [0.9, 0.2, 0.1], maps=maps)
    assert block(page, "data")["scale"] == [0.5, 1.0]


def test_a_scale_may_be_given_and_then_serves_several_reports(tmp_path):
    maps = [np.array([[0.1, 0.4, 0.7, 2.0]])]
    page = written(tmp_path, pictures(1), [0.5], maps=maps, scale=(0.1, 0.7))
    assert block(page, "data")["scale"] == [0.1, 0.7]
    ((opacity,),) = (one[..., 3] for one in heat_maps(page))
    assert opacity[0] == 0 < opacity[1] < opacity[2] == opacity[3]
    for scale in [(0.7, 0.1), (0.1, np.inf)]:
        with pytest.raises(ValueError, match="expected two finite numbers"):
            written(tmp_path, pictures(1), [0.5], maps=maps, scale=scale)


def test_boxes_are_kept_as_shares_of_the_upright_picture(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.new("RGB", (80, 40)).save(tmp_path / "a.jpg", exif=exif)
    boxes = [[(10, 20, 20, 40)], [(0, 0, 1, 1)] * 30, [], None]
    images = [tmp_path / "a.jpg", *pictures(3)]
    page = written(tmp_path, images, [0.9, 0.8, 0.7, 0.6], boxes=boxes)
    found = block(page, "data")["boxes"]
    assert found[0] == [[0.25, 0.25, 0.5, 0.5]]
    assert len(found[1]) == 20 and found[2:] == [[], None]


# Simulations of dichromats, on linear RGB: G. M. Machado et al., "A Physiologically-
# based Model for Simulation of Color Vision Deficiency", 2009.
DICHROMATS = {
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
    "none": np.eye(3),
}


@pytest.mark.parametrize("kind", DICHROMATS)
def test_every_level_is_brighter_than_the_one_before_to_everybody(kind, tmp_path):
    page = written(tmp_path, pictures(1), [0.5], maps=[np.eye(2)])
    colours = np.array(block(page, "data")["colours"])[:, :3] / 255
    linear = np.where(
        colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4
    )
    seen = np.clip(linear @ np.transpose(DICHROMATS[kind]), 0, 1)
    luminance = seen @ [0.2126, 0.7152, 0.0722]
    lightness = 116 * np.cbrt(luminance) - 16
    assert (np.diff(lightness) > 3).all()  # 1 is a difference that can be seen


def test_settings_and_versions_are_on_the_page(tmp_path):
    detector = tiny().fit()
    settings = describe_run(detector, command="skclipad score 'a b'")
    page = written(tmp_path, pictures(1), [0.5], settings=settings)
    assert "<th scope=row>N_p</th><td>100</td>" in page
    assert "<th scope=row>model_name</th><td>&#x27;tiny&#x27;</td>" in page
    assert "<td>skclipad score &#x27;a b&#x27;</td>" in page
    assert set(settings) == {"Notes", "Run", "Detector", "Embedder", "Versions"}
    assert settings["Versions"]["numpy"] == np.__version__


@pytest.mark.parametrize(
    "model_name, pretrained, note",
    [
        ("tiny", "none: bundled model", "has seen nothing but painted images"),
        ("lite", "none: bundled model", "a small CLIP for a first look at photos"),
        ("local-dir:weights", "none: weights of model_name", None),
        ("ViT-B-32", "'laion400m_e32'", None),
    ],
)
def test_settings_name_the_weights_that_were_used(model_name, pretrained, note):
    # What is not bundled is not loaded for it: any fitted detector will do.
    detector = tiny().fit()
    detector.set_params(embedder__model_name=model_name)
    settings = describe_run(detector)
    assert settings["Embedder"]["pretrained"] == pretrained
    assert (note or "") in settings.get("Notes", {}).get("model", "")
    assert ("Notes" in settings) == (note is not None)


@pytest.mark.parametrize(
    "more, message",
    [
        ({"scores": [0.1]}, "Got 2 images and 1 scores"),
        ({"names": ["a"]}, "Got 2 images and 1 names"),
        ({"labels": [0, 1, 1]}, "Got 2 images and 3 labels"),
        ({"maps": [None]}, "Got 2 images and 1 maps"),
        ({"boxes": [None]}, "Got 2 images and 1 boxes"),
        ({"errors": [None]}, "Got 2 images and 1 errors"),
        ({"components": {"s_pr": [0.1]}}, "Got 2 images and 1 s_pr"),
    ],
)
def test_columns_of_another_length_are_refused(more, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        write_report(tmp_path / "r.html", pictures(2), **{"scores": [0.1, 0.2], **more})
    assert not (tmp_path / "r.html").exists()


@pytest.mark.parametrize("value", [np.inf, -np.inf])
@pytest.mark.parametrize(
    "more, message",
    [
        ({"scores": 2}, r"Got scores\[2\]=-?inf \(1 of 3 are infinite\)"),
        ({"components": 1}, r"Got s_pr\[1\]=-?inf"),
        ({"maps": 0}, r"Got maps\[0\] with infinite"),
        ({"threshold": None}, "Got threshold=-?inf"),
    ],
)
def test_what_no_page_can_show_is_refused_and_named(more, message, value, tmp_path):
    ((what, row),) = more.items()
    scores, component = np.array([0.1, 0.2, np.nan]), np.array([0.1, 0.2, np.nan])
    maps, options = [np.zeros((2, 2)), None, np.full((2, 2), np.nan)], {}
    if what == "threshold":
        options = {"threshold": value}
    elif what == "maps":
        maps[row][0, 1] = value
    else:
        {"scores": scores, "components": component}[what][row] = value
    path = tmp_path / "report.html"
    with pytest.raises(ValueError, match=message):
        write_report(
            path,
            pictures(3),
            scores,
            components={"s_pr": component},
            maps=maps,
            **options,
        )
    assert not path.exists()


def test_the_page_counts_what_is_above_the_threshold_as_the_table_does(tmp_path):
    scores = [0.4321000100000001, 0.43210001, 0.1 + 0.2]
    page = written(tmp_path, pictures(3), scores, threshold=0.43210001)
    data = block(page, "data")
    assert data["scores"] == scores
    assert sum(score > data["threshold"] for score in data["scores"]) == 1


# The region


def region_of(tmp_path, images, region):
    scores = np.linspace(1, 0, len(images))
    return block(written(tmp_path, images, scores, region=region), "data")["region"]


def test_a_box_is_outlined_in_the_pictures_that_it_fits(tmp_path):
    images = [np.zeros((30, 40, 3)), np.zeros((20, 40, 3)), tmp_path / "none.png"]
    found = region_of(tmp_path, images, "10,5,20,25")
    assert found["path"] == "M10 5H30V30H10Z"
    assert found["sizes"] == [[40, 30], None, None]
    assert found["said"].startswith("20 x 25 pixels of each picture are looked at, 10 ")
    assert "5 from above" in found["said"] and "outside changes no" in found["said"]
    assert region_of(tmp_path, images[:1], None) is None


def test_a_mask_is_outlined_along_its_edges(tmp_path):
    mask = np.zeros((20, 40), bool)
    mask[5:15, 10:30] = True
    mask[8:12, 15:20] = False  # a hole
    images = [np.zeros((20, 40, 3)), np.zeros((21, 40, 3))]
    found = region_of(tmp_path, images, mask)
    parts = set(re.findall("M[^M]+", found["path"]))
    assert parts == {
        *("M10 5H30", "M10 15H30", "M10 5V15", "M30 5V15"),
        *("M15 8H20", "M15 12H20", "M15 8V12", "M20 8V12"),
    }
    assert found["sizes"] == [[40, 20], None]
    assert found["said"].startswith("22% of each picture is looked at")


def test_the_outline_of_a_large_mask_is_drawn_coarsely(tmp_path):
    rng = np.random.default_rng(0)
    mask = rng.random((3000, 4000)) > 0.5
    found = region_of(tmp_path, [np.zeros((3000, 4000, 3), np.uint8)], mask)
    numbers = [float(n) for n in re.findall(r"[\d.]+", found["path"])]
    assert max(numbers) == 4000 and min(numbers) == 0
    assert len(found["path"]) < 1_000_000


def test_a_region_that_is_none_is_refused(tmp_path):
    with pytest.raises(ValueError, match="empty region"):
        region_of(tmp_path, [np.zeros((3, 4, 3))], "1,1,0,5")
