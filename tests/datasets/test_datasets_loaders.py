"""MVTec-AD, VisA and Sewer-ML from disk: layouts, splits, what is not there."""

import shutil
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from files import touch

from skclipad.datasets import load_mvtec_ad, load_sewerml, load_visa

FIELDS = {"paths", "target", "category", "defect", "mask_paths", "split"}


def relative(data, root):
    return [Path(path).relative_to(root).as_posix() for path in data.paths]


@pytest.fixture
def mvtec(tmp_path):
    for category, kind in (("bottle", "broken_large"), ("cable", "bent_wire")):
        touch(
            tmp_path / category,
            *(f"train/good/00{i}.png" for i in range(3)),
            *("test/good/001.png", "test/good/000.png", f"test/{kind}/000.png"),
            f"ground_truth/{kind}/000_mask.png",
            *("license.txt", "readme.txt", "test/good/Thumbs.db"),
        )
    touch(tmp_path, "license.txt")
    return tmp_path


@pytest.fixture
def visa(tmp_path):
    """The original layout, one category of two with kinds of defect."""
    lines = ["object,split,label,image,mask"]
    for name in ("candle", "pcb1"):
        for split, number in (("train", 7), ("test", 3), ("train", 1)):
            image = f"{name}/Data/Images/Normal/{number:04d}.JPG"
            touch(tmp_path, image)
            lines.append(f"{name},{split},normal,{image},")
        image = f"{name}/Data/Images/Anomaly/000.JPG"
        mask = f"{name}/Data/Masks/Anomaly/000.png"
        touch(tmp_path, image, mask)
        lines.append(f"{name},test,anomaly,{image},{mask}")
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv" / "1cls.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "candle" / "image_anno.csv").write_text(
        "image,label,mask\n"
        "candle/Data/Images/Normal/0003.JPG,normal,\n"
        'candle/Data/Images/Anomaly/000.JPG,"chunk missing,wax melded",x.png\n'
    )
    return tmp_path


def write_sewerml(root, n=6, places=("Val",), columns=None):
    """Write annotations of n pictures; picture i shows class RB if i % 3 == 1."""
    columns = (
        columns
        or (
            "Filename WaterLevel VA RB OB PF DE FS IS RO IN AF BE FO GR PH PB OS OP OK "
            "ND Defect"
        ).split()
    )
    lines = [",".join(columns)]
    for i in range(n):
        values = dict.fromkeys(columns, "0")
        values.update(Filename=f"{i:08d}.png", WaterLevel="10", VA="1")
        values["RB"] = values["Defect"] = str(int(i % 3 == 1))
        values["ND"] = str(int(i % 3 != 1))
        lines.append(",".join(values[name] for name in columns))
        touch(root / places[i % len(places)], values["Filename"])
    (root / "SewerML_Val.csv").write_text("\n".join(lines) + "\n")
    return root


# -- MVTec-AD ----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*2 of the 15:UserWarning")
def test_mvtec_test_pictures_their_labels_and_masks(mvtec):
    data = load_mvtec_ad(mvtec)
    assert relative(data, mvtec) == [
        "bottle/test/broken_large/000.png",
        "bottle/test/good/000.png",
        "bottle/test/good/001.png",
        "cable/test/bent_wire/000.png",
        "cable/test/good/000.png",
        "cable/test/good/001.png",
    ]
    np.testing.assert_array_equal(data.target, [1, 0, 0, 1, 0, 0])
    assert data.category.tolist() == ["bottle"] * 3 + ["cable"] * 3
    assert data.defect.tolist() == [
        *("broken_large", "good", "good", "bent_wire", "good", "good")
    ]
    mask = mvtec / "bottle" / "ground_truth" / "broken_large" / "000_mask.png"
    assert data.mask_paths[0] == str(mask)
    assert data.mask_paths[1:3].tolist() == [None, None]
    assert set(data.split) == {"test"} and data.missing == []
    assert data.category_names == ["bottle", "cable"]


@pytest.mark.filterwarnings("ignore:.*2 of the 15:UserWarning")
def test_types_of_what_is_returned(mvtec):
    data = load_mvtec_ad(mvtec)
    assert {len(data[name]) for name in FIELDS} == {6}
    assert data.paths.dtype == data.mask_paths.dtype == object
    assert all(type(path) is str for path in data.paths)
    assert data.target.dtype == np.int64
    assert {data[name].dtype.kind for name in ("category", "defect", "split")} == {"U"}


def test_mvtec_training_pictures_are_normal(mvtec):
    data = load_mvtec_ad(mvtec, ["cable"], split="train")
    assert relative(data, mvtec) == [f"cable/train/good/00{i}.png" for i in range(3)]
    assert not data.target.any() and set(data.split) == {"train"}


def test_mvtec_both_splits(mvtec):
    data = load_mvtec_ad(mvtec, "cable", split="all")
    assert data.split.tolist() == ["test"] * 3 + ["train"] * 3


def test_description_tells_licence_citation_and_what_was_loaded(mvtec, visa, tmp_path):
    sewer = load_sewerml(write_sewerml(tmp_path))
    texts = {
        "mvtec_ad": load_mvtec_ad(mvtec, "bottle"),
        "visa": load_visa(visa, "pcb1"),
        "sewerml": sewer,
    }
    for (name, data), licence, author in zip(
        texts.items(),
        ("CC BY-NC-SA 4.0", "CC BY 4.0", "CC BY-NC-SA 4.0"),
        ("Bergmann", "Zou", "Haurum"),
        strict=True,
    ):
        assert data.name == name
        assert licence in data.DESCR and author in data.DESCR
        assert f"{len(data.paths)}, of which {data.target.sum()}" in data.DESCR


def test_one_category_by_its_name(mvtec):
    assert load_mvtec_ad(str(mvtec), "cable").category_names == ["cable"]


def test_unknown_category_is_answered_with_those_that_are_there(mvtec):
    with pytest.raises(ValueError, match=r"category=\['zipper'\].*bottle, cable"):
        load_mvtec_ad(mvtec, ["cable", "zipper"])
    with pytest.raises(ValueError, match=r"category=\[\]"):
        load_mvtec_ad(mvtec, [])


def test_some_of_the_published_categories_are_loaded_with_a_warning(mvtec):
    with pytest.warns(UserWarning, match=r"2 of the 15 .*zipper") as caught:
        load_mvtec_ad(mvtec)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_mvtec_ad(mvtec, ["bottle", "cable"])
        shutil.copytree(mvtec / "cable", mvtec / "gear")
        load_mvtec_ad(mvtec)  # other goods in this layout


@pytest.mark.parametrize(
    "load, name, origin",
    [
        (load_mvtec_ad, "bottle/test/broken_large", "MVTec Software"),
        (load_visa, "split_csv/1cls.csv", "Amazon Science"),
        (load_sewerml, "SewerML_Val.csv", "Aalborg University"),
    ],
)
def test_wrong_folders_say_what_was_looked_for_found_and_where_it_is_had(
    load, name, origin, tmp_path
):
    cases = {"gone": "no such folder", "file": "a file", "empty": "an empty folder"}
    cases["other"] = "which holds archive.tar.xz, docs/"
    touch(tmp_path, "file", "other/archive.tar.xz", "other/docs/page.html")
    (tmp_path / "empty").mkdir()
    for folder, found in cases.items():
        with pytest.raises(FileNotFoundError) as caught:
            load(tmp_path / folder)
        for words in (str(tmp_path / folder), name, found, origin):
            assert words in str(caught.value)


def test_long_folders_are_shortened_in_errors(tmp_path):
    touch(tmp_path, *(f"{i:03d}.txt" for i in range(100)))
    with pytest.raises(FileNotFoundError, match=r"007\.txt and 92 more"):
        load_mvtec_ad(tmp_path)


def test_half_unpacked_category_is_an_error(mvtec):
    (mvtec / "zipper").mkdir()  # unpacking stopped here
    shutil.rmtree(mvtec / "cable" / "test")
    with pytest.raises(FileNotFoundError) as caught, pytest.warns(UserWarning):
        load_mvtec_ad(mvtec)
    for words in ("2 files or folders of MVTec-AD", str(mvtec / "cable" / "test")):
        assert words in str(caught.value)
    assert str(mvtec / "zipper" / "test") in str(caught.value)
    with pytest.warns(UserWarning):
        data = load_mvtec_ad(mvtec, on_missing="list")
    assert data.category_names == ["bottle"]
    assert data.missing == [str(mvtec / name / "test") for name in ("cable", "zipper")]


def test_a_defect_without_its_mask_is_missing(mvtec):
    mask = mvtec / "cable" / "ground_truth" / "bent_wire" / "000_mask.png"
    mask.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        load_mvtec_ad(mvtec, "cable")
    assert str(mask) in str(caught.value)
    data = load_mvtec_ad(mvtec, "cable", on_missing="list")
    assert data.missing == [str(mask)]
    assert data.target.tolist() == [1, 0, 0]
    assert data.mask_paths.tolist() == [None] * 3
    shutil.rmtree(mask.parent)
    touch(mvtec, "cable/test/bent_wire/001.png")
    data = load_mvtec_ad(mvtec, "cable", on_missing="list")
    assert data.missing == [str(mask.parent)]


@pytest.mark.parametrize(
    "load, options",
    [
        (load_mvtec_ad, {"split": "val"}),
        (load_visa, {"split": "Test"}),
        (load_sewerml, {"split": "Test"}),
        (load_mvtec_ad, {"on_missing": "ignore"}),
        (load_visa, {"on_missing": "ignore"}),
        (load_sewerml, {"on_missing": "ignore"}),
    ],
)
def test_options_of_no_such_value_are_refused(load, options, tmp_path):
    (name, value), *_ = options.items()
    with pytest.raises(ValueError, match=f"Got {name}='{value}' but expected '"):
        load(tmp_path, **options)


# -- VisA --------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*2 of the 12:UserWarning")
def test_visa_original_layout(visa):
    data = load_visa(visa)
    assert relative(data, visa) == [
        "candle/Data/Images/Normal/0003.JPG",
        "candle/Data/Images/Anomaly/000.JPG",
        "pcb1/Data/Images/Normal/0003.JPG",
        "pcb1/Data/Images/Anomaly/000.JPG",
    ]
    assert data.target.tolist() == [0, 1, 0, 1]
    assert data.defect.tolist() == [
        *("good", "chunk missing,wax melded", "good", "anomaly")
    ]
    assert data.mask_paths[::2].tolist() == [None, None]
    assert Path(data.mask_paths[1]) == visa / "candle/Data/Masks/Anomaly/000.png"


def test_visa_training_pictures_come_in_the_order_of_the_table(visa):
    data = load_visa(visa, "pcb1", split="train")
    assert relative(data, visa) == [
        f"pcb1/Data/Images/Normal/000{i}.JPG" for i in (7, 1)
    ]
    assert len(load_visa(visa, "pcb1", split="all").paths) == 4


@pytest.mark.parametrize("below", ["", "1cls"])
def test_visa_in_the_layout_of_mvtec(below, tmp_path):
    touch(
        tmp_path / below / "candle",
        *("train/good/0001.JPG", "test/good/0000.JPG", "test/bad/000.JPG"),
        "ground_truth/bad/000.png",
    )
    data = load_visa(tmp_path, "candle")
    assert data.name == "visa"
    assert data.defect.tolist() == ["bad", "good"]
    assert Path(data.mask_paths[0]).name == "000.png"
    assert len(load_visa(tmp_path, "candle", split="train").paths) == 1


def test_visa_files_that_are_not_there_are_listed(visa):
    image = visa / "pcb1" / "Data" / "Images" / "Normal" / "0003.JPG"
    mask = visa / "pcb1" / "Data" / "Masks" / "Anomaly" / "000.png"
    image.unlink(), mask.unlink()
    with pytest.raises(FileNotFoundError, match="2 files or folders of VisA") as caught:
        load_visa(visa, "pcb1")
    assert str(image) in str(caught.value) and str(mask) in str(caught.value)
    data = load_visa(visa, "pcb1", on_missing="list")
    assert data.missing == [str(image), str(mask)]
    assert data.target.tolist() == [1] and data.mask_paths.tolist() == [None]
    assert load_visa(visa, "candle").missing == []


@pytest.mark.parametrize(
    "text, message",
    [
        ("image,label\na.png,normal\n", "columns image, label .*object, split, label"),
        ("object,split,label,image,mask\nc,test,bad,a.png,\n", "label='bad'.*line 2"),
        ("object,split,label,image,mask\nc,val,normal,a.png,\n", "split='val'"),
        ("", r"columns \(none\)"),
        ("object,split,label,image,mask\nc,test,normal\n", "fewer fields in row 2"),
        ("object,split,label,image,mask\na,b,c,d,e,f\n", "more .* fields in row 2"),
    ],
)
def test_visa_table_that_is_another_is_refused(text, message, tmp_path):
    (tmp_path / "split_csv").mkdir()
    (tmp_path / "split_csv" / "1cls.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        load_visa(tmp_path)


# -- Sewer-ML ----------------------------------------------------------------------


def test_sewerml_defect_is_any_class(tmp_path):
    data = load_sewerml(write_sewerml(tmp_path))
    assert data.target.tolist() == [0, 1, 0, 0, 1, 0]
    assert data.defect.tolist() == ["good", "RB", "good", "good", "RB", "good"]
    assert set(data.category) == {"sewer_pipe"} and set(data.split) == {"Val"}
    assert data.mask_paths.tolist() == [None] * 6
    assert relative(data, tmp_path) == [f"Val/{i:08d}.png" for i in range(6)]


def test_sewerml_joins_classes_and_knows_what_is_none(tmp_path):
    touch(tmp_path, *"abcd")
    table = tmp_path / "annotations" / "SewerML_Train.csv"
    table.parent.mkdir()
    table.write_text(
        "Filename,VA,RB,FS,ND,Defect\na,1,1,1,0,1\nb,1,0,0,1,0\nc,0,0,0,0,1\nd,0,0,1,0,0\n"
    )
    data = load_sewerml(tmp_path, split="Train")
    assert data.defect.tolist() == ["RB+FS", "good", "Defect", "FS"]
    assert data.target.tolist() == [1, 0, 1, 1]


def test_sewerml_without_the_column_defect(tmp_path):
    columns = "Filename RB OB PF DE FS IS RO IN AF BE FO GR PH PB OS OP OK".split()
    data = load_sewerml(write_sewerml(tmp_path, columns=columns))
    assert data.target.tolist() == [0, 1, 0, 0, 1, 0]
    (tmp_path / "SewerML_Val.csv").write_text("Filename,RB,OB\n00000000.png,0,0\n")
    with pytest.raises(ValueError, match="columns Filename, RB, OB .*expected Defect"):
        load_sewerml(tmp_path)


def test_sewerml_finds_pictures_in_the_folders_of_their_archives(tmp_path):
    write_sewerml(tmp_path, places=("valid00", "images/valid01", "."))
    touch(tmp_path, "train00/00000000.png")  # a namesake of the other split
    assert relative(load_sewerml(tmp_path), tmp_path)[:3] == [
        *("valid00/00000000.png", "images/valid01/00000001.png", "00000002.png")
    ]


def test_sewerml_lists_what_is_missing_and_drops_nothing_silently(tmp_path):
    write_sewerml(tmp_path, n=9)
    gone = [f"0000000{i}.png" for i in (0, 4, 8)]
    for name in gone:
        (tmp_path / "Val" / name).unlink()
    with pytest.raises(FileNotFoundError, match="3 files") as caught:
        load_sewerml(tmp_path)
    assert all(name in str(caught.value) for name in gone)
    data = load_sewerml(tmp_path, on_missing="list")
    assert data.missing == gone and len(data.paths) == 6
    assert data.target.tolist() == [1, 0, 0, 0, 0, 1]


def test_sewerml_of_1000_rows_takes_less_than_a_second(tmp_path):
    write_sewerml(tmp_path, n=1000)
    start = time.perf_counter()
    data = load_sewerml(tmp_path)
    assert time.perf_counter() - start < 1
    assert len(data.paths) == 1000 and data.target.sum() == 333


@pytest.mark.parametrize("value", ["2", "", "yes"])
def test_sewerml_values_but_0_and_1_are_refused(value, tmp_path):
    (tmp_path / "SewerML_Val.csv").write_text(f"Filename,Defect\na.png,{value}\n")
    with pytest.raises(ValueError, match=rf"'{value}'.* for a\.png .*0 and 1"):
        load_sewerml(tmp_path)


def test_sewerml_without_rows_is_refused(tmp_path):
    (tmp_path / "SewerML_Val.csv").write_text("Filename,Defect\n")
    with pytest.raises(ValueError, match="no row"):
        load_sewerml(tmp_path)
