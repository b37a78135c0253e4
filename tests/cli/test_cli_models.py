"""Models on the command line: the table, which weights a name takes, what is said."""

import re
import sys

import joblib
import open_clip
import pytest
from detectors import tiny
from PIL import Image

from skclipad import CLIPImageEmbedder, cli
from skclipad._exceptions import WeightsNotFoundError
from skclipad.cli import _models

SMALL = "ViT-S-32-alt"  # of open_clip's registry, which has no weights of it
DEFAULT = "laion400m_e32"
TABLE = f"""\
name,weights,licence,sell,pixels,GFLOP image,needs
{SMALL},best,MIT,yes,224,2.5,
tiny,bundled,BSD,yes,64,0.1,
"""


@pytest.fixture
def table(monkeypatch, tmp_path):
    """A table of a small model and of a bundled one."""
    file = tmp_path / "models.csv"
    file.write_text(TABLE)
    monkeypatch.setattr(_models, "TABLE", file)


@pytest.fixture
def published(monkeypatch):
    """A function that publishes weights of the small model, which nobody can fetch."""

    def publish(*tags):
        pairs = [(SMALL, tag) for tag in tags]
        monkeypatch.setattr(open_clip, "list_pretrained", lambda: pairs)

    return publish


def info(capsys, *arguments, code=0):
    """Return what is printed, values by name, or what is refused."""
    assert cli.main(["info", *map(str, arguments)]) == code
    said = capsys.readouterr()
    if code:
        return said.err
    pairs = re.findall(r"^(\S+(?: \S+)*)(?:  +| (?=\S+$)|$)(.*)$", said.out, re.M)
    return dict(pairs)


# The table


def test_the_row_of_one_model_is_printed_alone(table, published, capsys):
    published("best")
    printed = info(capsys, "--models", "--model", SMALL)
    assert printed["licence"] == "MIT" and printed["weights"] == "best"
    assert printed["needs"] == ""
    said = info(capsys, "--models", "--model", "RN50", code=1)
    assert f"'RN50', but expected a name of the table: {SMALL}, tiny" in said


def test_what_open_clip_has_not_is_marked_and_bundled_models_are_there(
    table, published, capsys
):
    published("other")
    assert cli.main(["info", "--models"]) == 0
    _, small, bundled, *_ = capsys.readouterr().out.splitlines()
    assert small.endswith("(not in this open_clip)")
    assert bundled.split() == ["tiny", "bundled", "BSD", "yes", "64", "0.1"]


def test_a_narrow_terminal_gets_blocks_of_columns(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    assert cli.main(["info", "--models"]) == 0
    table, legend = capsys.readouterr().out.split("\n\nopen_clip_torch")
    blocks = [block.splitlines() for block in table.split("\n\n")]
    assert len(blocks) > 2
    names = {tuple(line.split("  ")[0] for line in block) for block in blocks}
    assert len(names) == 1 and "ViT-B-32" in names.pop()
    heads = [re.split("  +", block[0]) for block in blocks]
    for block, head in zip(blocks, heads, strict=True):
        # One column alone may be wider: an older open_clip lacks what some models need.
        assert max(map(len, block)) <= 60 or head == ["name", "needs"]
    columns = {name for head in heads for name in head}
    assert {"licence", "fast texts", "needs"} <= columns


# Which weights a name takes


def test_info_looks_at_the_weights_of_the_table(table, published, capsys):
    published(DEFAULT, "best")
    printed = info(capsys, "--model", SMALL)
    assert printed["weights"].startswith("best, as in the table; not on this machine")
    assert "licence MIT, sell yes, pixels 224" in printed["in the table"]
    assert printed["image tower"] == "fast path"


def test_info_takes_the_weights_that_are_asked_for(table, published, capsys):
    published(DEFAULT, "best")
    printed = info(capsys, "--model", SMALL, "--pretrained", DEFAULT)
    assert printed["weights"].startswith(f"{DEFAULT}; not on this machine")
    said = info(capsys, "--model", SMALL, "--pretrained", "worst", code=1)
    assert "--pretrained 'worst' but it is neither a file nor a tag" in said


@pytest.mark.parametrize(
    ("tags", "weights"),
    [
        ((DEFAULT, "a"), f"{DEFAULT}, the default; not on this machine"),
        (("a", "b"), "--pretrained was not given; its tags are a, b; size"),
    ],
)
def test_info_says_of_a_model_outside_the_table_what_can_be_said(
    tags, weights, published, capsys
):
    published(*tags)
    printed = info(capsys, "--model", SMALL)
    assert printed["weights"].startswith(weights)
    assert "in the table" not in printed and "image tower" in printed


COMMANDS = [
    ["fit", "-o", "d.joblib"],
    ["score", "."],
    ["watch", ".", "-o", "s.csv"],
    ["info", "--check-precision", "bf16", "."],
]


@pytest.fixture
def here(monkeypatch, tmp_path, images):
    monkeypatch.chdir(tmp_path)
    for i in range(3):
        Image.fromarray(images[i]).save(f"{i}.png")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_a_model_without_the_default_weights_needs_a_tag(
    command, table, published, here, capsys
):
    published("a", "best")
    assert cli.main([*command, "--model", SMALL]) == 1
    said = capsys.readouterr().err
    assert f"Got --model '{SMALL}' without --pretrained" in said
    assert "its tags: best, a. Add --pretrained best, the table's: MIT, may be" in said


@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: words[0])
def test_weights_that_are_not_those_of_the_table_are_told(
    command, table, published, here, capsys
):
    published(DEFAULT, "best")
    told = f"weights: {DEFAULT} of {SMALL}, since --pretrained was not given; the table"
    cli.main([*command, "--model", SMALL])
    assert capsys.readouterr().err.count(told) == 1
    cli.main([*command, "--model", SMALL, "--pretrained", "best"])
    cli.main([*command, "--model", SMALL, "--pretrained", DEFAULT])
    assert told not in capsys.readouterr().err


def test_python_is_told_which_tags_there_are():
    embedder = CLIPImageEmbedder("ViT-L-14-336")
    told = "Its tags are openai; where none is named, that of the default model is"
    with pytest.raises(WeightsNotFoundError, match=told):
        embedder.encode_text(["a photo"])


def test_of_a_bundled_model_nothing_is_said(tmp_path, capsys):
    target = str(tmp_path / "d.joblib")
    assert cli.main(["fit", "-o", target, "--model", "tiny", "--n-pairs", "50"]) == 0
    assert "weights:" not in capsys.readouterr().err


# The CLIP of a detector


def test_info_names_the_clip_of_a_detector_and_not_the_bundled_ones(
    detector_file, capsys
):
    printed = info(capsys, "-d", detector_file)
    fingerprint = joblib.load(detector_file).backbone_
    assert printed["model"].startswith("tiny, 3.0 million parameters")
    assert printed["weights"] == f"bundled, fingerprint {fingerprint}"
    assert "crops whole" in printed["reads"] and "decode full" in printed["reads"]
    assert "bundled lite" not in printed and printed["text tower"] == "fast path"


def test_values_of_a_detector_stand_below_each_other(detector_file, capsys):
    assert cli.main(["info", "-d", detector_file]) == 0
    lines = capsys.readouterr().out.splitlines()
    at = len("hidden_layer_sizes ")
    assert all(line[at - 1] == " " and line[at] != " " for line in lines)
    assert f"{'anomaly_word':<{at}}a damaged" in lines
    assert f"{'hidden_layer_sizes':<{at}}128, 32, 16" in lines
    assert f"{'memory':<{at}}none" in lines


def test_info_says_that_the_weights_of_a_detector_are_others_or_gone(tmp_path, capsys):
    detector = tiny().fit()
    detector.backbone_ = "0" * 32
    joblib.dump(detector, tmp_path / "other.joblib")
    printed = info(capsys, "-d", tmp_path / "other.joblib")
    assert "; on this machine are others, " in printed["weights"]
    detector.embedder = CLIPImageEmbedder(f"local-dir:{tmp_path}")
    joblib.dump(detector, tmp_path / "gone.joblib")
    printed = info(capsys, "-d", tmp_path / "gone.joblib")
    assert "which cannot be looked at" in printed["model"]
    assert "image tower" not in printed and printed["N_p"]
