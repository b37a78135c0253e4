"""Your own pictures: folders of several layouts, CSV files, and real photos."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
from files import touch

from skclipad.datasets import load_folder, load_sample_photos


@pytest.fixture
def mugs(tmp_path):
    root = tmp_path / "mugs"
    touch(root, "good/a.jpg", "good/b.PNG", "crack/c.tif", "notes.txt", ".git/x.png")
    return root


def table(path, *lines):
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_folders_name_the_labels(mugs):
    data = load_folder(mugs)
    assert [Path(path).name for path in data.paths] == ["c.tif", "a.jpg", "b.PNG"]
    assert data.target.tolist() == [1, 0, 0]
    assert data.defect.tolist() == ["crack", "good", "good"]
    assert set(data.category) == {"mugs"} and data.name == "mugs"
    assert str(mugs) in data.DESCR and "3, of which 1" in data.DESCR


def test_relative_root_is_called_by_its_real_name(mugs, monkeypatch):
    monkeypatch.chdir(mugs)
    assert load_folder(".").name == "mugs"


def test_normal_pictures_may_have_another_name(mugs):
    (mugs / "good").rename(mugs / "ok")
    with pytest.raises(ValueError, match="good='good'.*has crack, ok"):
        load_folder(mugs)
    assert load_folder(mugs, good="ok").defect.tolist() == ["crack", "good", "good"]


def test_folders_below_test_and_train(mugs):
    touch(mugs, "test/good/1.png", "test/chip/2.png", "train/good/3.png")
    touch(mugs, "ground_truth/chip/2_mask.png")
    data = load_folder(mugs)
    assert data.defect.tolist() == ["chip", "good"] and data.name == "mugs"
    assert Path(data.mask_paths[0]) == mugs / "ground_truth" / "chip" / "2_mask.png"
    train = load_folder(mugs, split="train")
    assert [Path(path).name for path in train.paths] == ["3.png"]
    assert len(load_folder(mugs, split="all").paths) == 3


def test_folders_below_categories(tmp_path):
    touch(tmp_path, "b/test/good/1.png", "b/test/chip/2.png", "a/test/chip/3.png")
    touch(tmp_path, "a/train/good/4.png", "docs/page.html")
    data = load_folder(tmp_path)
    assert data.category.tolist() == ["a", "b", "b"]
    assert data.target.tolist() == [1, 1, 0] and data.mask_paths.tolist() == [None] * 3
    assert load_folder(tmp_path, "b").category.tolist() == ["b", "b"]
    with pytest.raises(ValueError, match=r"category=\['c'\].*a, b"):
        load_folder(tmp_path, "c")
    with pytest.raises(FileNotFoundError, match="missing: .*train") as caught:
        load_folder(tmp_path, split="train")
    assert str(tmp_path / "b" / "train") in str(caught.value)
    assert load_folder(tmp_path, "a", split="train").target.tolist() == [0]


def test_no_training_pictures_is_an_error_that_says_so(mugs):
    with pytest.raises(FileNotFoundError, match="No image of the split 'train'"):
        load_folder(mugs, split="train")


def test_folders_without_pictures_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="an empty folder.*good/ and scratch/"):
        load_folder(tmp_path)
    touch(tmp_path, "good/notes.txt")
    with pytest.raises(FileNotFoundError, match="holds good/"):
        load_folder(tmp_path)
    with pytest.raises(FileNotFoundError, match="no such folder"):
        load_folder(tmp_path / "gone")


@pytest.mark.parametrize("normal, damaged", [("good", "crack"), ("0", "1")])
def test_csv_of_names_or_numbers(normal, damaged, mugs):
    file = table(mugs / "labels.csv", "path,label", f"crack/c.tif,{damaged}")
    with file.open("a") as lines:
        lines.write(f"good/a.jpg,{normal}\n")
    for data in (load_folder(file), load_folder(mugs, labels=file)):
        assert data.target.tolist() == [1, 0] and data.name == "mugs"
        assert data.defect.tolist() == [
            "anomaly" if damaged == "1" else damaged,
            "good",
        ]
        assert Path(data.paths[0]) == mugs / "crack" / "c.tif"
    assert load_folder(mugs, labels="labels.csv").target.tolist() == [1, 0]


def test_csv_with_everything(mugs):
    file = table(
        mugs / "all.csv",
        "\ufeffpath,label,category,mask,split",
        "crack/c.tif,crack,cup,good/b.PNG,test",
        f"{mugs / 'good' / 'a.jpg'},fine,cup,,test",
        "good/b.PNG,fine,bowl,,train",
    )
    data = load_folder(file, good="fine")
    assert data.category.tolist() == ["cup", "cup"]
    assert data.defect.tolist() == ["crack", "good"]
    assert Path(data.mask_paths[0]) == mugs / "good" / "b.PNG"
    assert load_folder(file, "bowl", "train", good="fine").target.tolist() == [0]


def test_csv_files_that_are_not_there_are_listed(mugs):
    file = table(mugs / "l.csv", "path,label", "good/a.jpg,good", "good/z.jpg,good")
    with pytest.raises(FileNotFoundError, match="1 files.*z.jpg"):
        load_folder(file)
    data = load_folder(file, on_missing="list")
    assert data.missing == [str(mugs / "good" / "z.jpg")] and len(data.paths) == 1


def test_csv_that_is_no_such_table_is_refused(mugs):
    with pytest.raises(ValueError, match="columns file, label .*expected path, label"):
        load_folder(table(mugs / "l.csv", "file,label", "good/a.jpg,good"))
    with pytest.raises(ValueError, match="good='good' but .* has crack, fine"):
        load_folder(table(mugs / "l.csv", "path,label", "a,fine", "b,crack"))
    with pytest.raises(ValueError, match="good='good' but .* has 1"):
        load_folder(table(mugs / "l.csv", "path,label", "a,1", "b,1"))
    with pytest.raises(FileNotFoundError, match="labels='gone.csv'"):
        load_folder(mugs, labels="gone.csv")


def test_a_folder_of_photographs_is_read_as_its_own_loader_reads_it(tmp_path):
    photos = load_sample_photos()
    folder = Path(photos.paths[0]).parents[1]
    data = load_folder(folder)
    assert data.name == "cans" and set(data.category) == {"cans"}
    for labels in ("target", "defect"):
        found, expected = (
            dict(zip(one.paths.tolist(), one[labels].tolist(), strict=True))
            for one in (data, photos)
        )
        assert found == expected and len(found) == 50
    for name in ("cans", "others"):
        shutil.copytree(folder, tmp_path / name / "test")
    both = load_folder(tmp_path)
    counts = Counter(zip(both.category.tolist(), both.target.tolist(), strict=True))
    n_damaged = int(photos.target.sum())
    assert counts == {
        (name, label): n
        for name in ("cans", "others")
        for label, n in ((0, 50 - n_damaged), (1, n_damaged))
    }
