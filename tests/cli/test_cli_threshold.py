"""``skclipad threshold`` and ``drift``: what is said of a table of scores."""

import json
import subprocess
import sys
from pathlib import Path

import joblib
import pytest
from PIL import Image

from skclipad import cli
from skclipad._images.reading import image_identity

N = 40


def write_table(path, n=N):
    """Write scores 0, 1/n ... in the columns that `skclipad score` has."""
    lines = ["path,score,label,error"]
    lines += [f"photos/{i:06d}.png,{i / n!r},0," for i in range(n)]
    path.write_text("\n".join([*lines, "photos/bad.png,,,the file is empty\n"]))
    return str(path)


def write_labels(path, labels, words=("0", "1")):
    rows = [f"photos/{i:06d}.png,{words[label]}" for i, label in labels.items()]
    path.write_text("\n".join(["path,label", *rows, ""]))
    return str(path)


@pytest.fixture
def table(tmp_path):
    return write_table(tmp_path / "scores.csv")


@pytest.fixture
def labels(tmp_path):
    """Ten pictures near the top: damaged from 32 on, but for one."""
    known = {i: int(i >= 32) for i in range(30, 40)} | {34: 0}
    return write_labels(tmp_path / "labels.csv", known)


@pytest.mark.parametrize(
    "wish, threshold, finds",
    [
        (["--recall", "1"], "0.79", "7 of 7 damaged"),
        (["--precision", "1"], "0.86", "5 of 7 damaged"),
        (["--cost", "10"], "0.79", "7 of 7 damaged"),
        (["--cost", "0.1"], "0.86", "5 of 7 damaged"),
        ([], "0.79", "7 of 7 damaged"),
    ],
)
def test_the_threshold_is_printed_and_what_it_finds_is_said(
    wish, threshold, finds, table, labels, capsys
):
    assert cli.main(["threshold", table, "--labels", labels, *wish]) == 0
    output = capsys.readouterr()
    assert output.out == f"{threshold}\n"
    assert "10 pictures of" in output.err and "7 damaged and 3 good" in output.err
    assert f"threshold {threshold}, " in output.err and finds in output.err
    above = sum(i / N > float(threshold) for i in range(N))
    assert f"{above} of all 40 pictures lie above it" in output.err


def test_few_labels_are_told_and_those_that_were_never_looked_at(table, labels, capsys):
    assert cli.main(["threshold", table, "--labels", labels, "--recall", "0.99"]) == 0
    said = capsys.readouterr().err
    assert "7 of 7 damaged   1.000 (0.590 to 1.000)" in said
    assert "7 damaged pictures are few" in said
    assert "a recall of 0.99 takes 368 damaged pictures" in said
    assert "30 have a lower score than any that was labelled" in said


def test_scores_that_tell_nothing_are_told(tmp_path, capsys):
    table = write_table(tmp_path / "s.csv", 4)
    labels = write_labels(tmp_path / "l.csv", {1: 1, 2: 0, 3: 0})
    assert cli.main(["threshold", table, "--labels", labels, "--recall", "1"]) == 0
    said = capsys.readouterr().err
    assert "AUROC 0.000" in said and "that is every picture" not in said
    (tmp_path / "s.csv").write_text(
        (tmp_path / "s.csv").read_text().replace("0.0,", ",")
    )
    assert cli.main(["threshold", table, "--labels", labels, "--recall", "1"]) == 0
    assert "that is every picture" in capsys.readouterr().err


def test_many_labels_are_not_called_few(tmp_path, capsys):
    table = write_table(tmp_path / "s.csv", 1000)
    labels = write_labels(tmp_path / "l.csv", {i: int(i >= 500) for i in range(1000)})
    assert cli.main(["threshold", table, "--labels", labels, "--recall", "0.9"]) == 0
    said = capsys.readouterr().err
    assert "are few" not in said and "lower score than any" not in said
    assert "To be that sure" not in said


def test_a_table_of_a_hundred_thousand_rows_is_read(tmp_path, capsys):
    table = write_table(tmp_path / "s.csv", 100_000)
    known = {i: int(i >= 90_000) for i in range(0, 100_000, 100)}
    labels = write_labels(tmp_path / "l.csv", known, ("good", "Damaged"))
    assert cli.main(["threshold", table, "--labels", labels]) == 0
    output = capsys.readouterr()
    assert 0.899 <= float(output.out) < 0.9
    assert "of all 100,000 pictures" in output.err


def test_the_threshold_is_written_into_the_detector(
    table, labels, detector_file, tmp_path, capsys
):
    other = tmp_path / "inspection.joblib"
    arguments = ["threshold", table, "--labels", labels, "-d", detector_file]
    assert cli.main([*arguments, "-o", str(other)]) == 0
    assert joblib.load(other).threshold == 0.79
    assert joblib.load(detector_file).threshold == 0.5
    assert f"{other}: its threshold is 0.79 (it was 0.5)" in capsys.readouterr().err

    other.rename(tmp_path / "own.joblib")
    arguments[arguments.index(detector_file)] = str(tmp_path / "own.joblib")
    assert cli.main([*arguments, "--precision", "1"]) == 0
    assert joblib.load(tmp_path / "own.joblib").threshold == 0.86
    assert not list(tmp_path.glob("*.partial"))


def test_without_labels_it_is_a_suggestion(table, capsys):
    assert cli.main(["threshold", table]) == 0
    output = capsys.readouterr()
    assert 0.5 < float(output.out) < 1
    assert "A suggestion" in output.err and "guarantees nothing" in output.err


@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_all_kinds_of_tables_are_read(ending, labels, tmp_path, capsys):
    rows = [{"path": f"photos/{i:06d}.png", "score": i / N} for i in range(N)]
    rows.append({"path": "photos/bad.png", "score": None})
    table = tmp_path / f"scores.{ending}"
    if ending == "jsonl":
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        pyarrow = pytest.importorskip("pyarrow")
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    assert cli.main(["threshold", str(table), "--labels", labels]) == 0
    assert capsys.readouterr().out == "0.79\n"


def test_labels_that_a_spreadsheet_saved_are_read(table, tmp_path, capsys):
    labels = tmp_path / "labels.csv"
    labels.write_text(
        "\ufeffpath;label\r\nphotos/000030.png;good\r\nphotos/000035.png;1\r\n\r\n",
        encoding="utf-8",
    )
    assert cli.main(["threshold", table, "--labels", str(labels)]) == 0
    assert 30 / N <= float(capsys.readouterr().out) < 35 / N


def test_labels_of_pictures_without_a_score_are_told(table, labels, capsys):
    with open(labels, "a") as file:
        file.write("elsewhere.png,1\nphotos/bad.png,0\n")
    assert cli.main(["threshold", table, "--labels", labels]) == 0
    said = capsys.readouterr().err
    assert "2 more have no score there: elsewhere.png, photos/bad.png" in said


@pytest.mark.parametrize(
    "text, reason",
    [
        ("path,label\nother/1.png,1\n", "it labels 'other/1.png', and the table has"),
        ("path,score\na,1\n", "has no column label"),
        ("path,label\na,perhaps\n", "the label of a is 'perhaps', but expected 0"),
        ("path,label\na,1\na,0\n", "labels a both good and damaged"),
        ("path,label\nphotos/000001.png,1\n", "Got 1 damaged pictures in"),
        (b"path,label\n\xff,1\n", "cannot be read as a table"),
    ],
)
def test_labels_that_do_not_fit_are_refused(text, reason, table, tmp_path, capsys):
    labels = tmp_path / "labels.csv"
    labels.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert cli.main(["threshold", table, "--labels", str(labels)]) == 1
    output = capsys.readouterr()
    assert reason in output.err and output.out == ""


@pytest.mark.parametrize(
    "text, reason",
    [
        ("path,score\na,high\n", "the score of a is 'high', but expected a number"),
        ("path,score\na,\n", "holds no score"),
        ("name\na\n", "has no column path and no column score"),
        ("", "has no column path"),
    ],
)
def test_tables_without_scores_are_refused(text, reason, tmp_path, capsys):
    (tmp_path / "s.csv").write_text(text)
    assert cli.main(["threshold", str(tmp_path / "s.csv")]) == 1
    assert reason in capsys.readouterr().err


def test_a_file_that_is_no_parquet_is_refused(tmp_path, capsys):
    pytest.importorskip("pyarrow")
    (tmp_path / "s.parquet").write_text("path,score\n")
    assert cli.main(["threshold", str(tmp_path / "s.parquet")]) == 1
    assert "is no Parquet file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments, reason",
    [
        (["--recall", "0.9"], "--recall needs --labels FILE"),
        (["--recall", "0.9", "--cost", "1"], "not allowed with"),
        (["--recall", "2"], "does not lie between 0 and 1"),
        (["-o", "x.joblib"], "--output needs --detector"),
        (["-d", "nowhere/x.joblib"], "the folder nowhere does not exist"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(arguments, reason, table, capsys):
    assert cli.main(["threshold", table, *arguments]) == 1
    assert reason in capsys.readouterr().err


def test_a_table_that_is_not_there_is_told(capsys):
    assert cli.main(["threshold", "nowhere.csv"]) == 1
    assert "nowhere.csv" in capsys.readouterr().err


def test_the_choice_loads_no_torch(table):
    program = (
        "import sys; from skclipad import cli\n"
        f"cli.main(['threshold', {table!r}]); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True)
    threshold, is_loaded = done.stdout.split()
    assert 0 < float(threshold) < 1 and is_loaded == b"False"


# drift


def test_drift_is_said_in_one_line(table, tmp_path, capsys):
    other = tmp_path / "other.csv"
    rows = "".join(f"{i},{0.5 + i / 400}\n" for i in range(200))
    other.write_text("path,score\n" + rows)
    assert cli.main(["drift", table, "--reference", table]) == 0
    assert capsys.readouterr().out.startswith("no drift found: these 40 scores may")
    assert cli.main(["drift", str(other), "--reference", table]) == 0
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "Kolmogorov-Smirnov distance 0.5" in said
    assert said.startswith("drift: these 200 scores are not spread as the 40 of")


def test_drift_needs_a_reference(table, capsys):
    assert cli.main(["drift", table]) == 1
    assert "--reference" in capsys.readouterr().err
    assert cli.main(["drift", table, "--reference", "nowhere.csv"]) == 1
    assert "nowhere.csv" in capsys.readouterr().err


# Labels that are of something else


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """Four pictures, their scores, and labels as the report's page saves them."""
    monkeypatch.chdir(tmp_path)
    lines = ["path,label,picture"]
    for i in range(4):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(f"{i}.png")
        lines.append(f"{i}.png,{i // 2},{image_identity(f'{i}.png')[:16]}")
    Path("labels.csv").write_text("\n".join(lines))
    Path("s.csv").write_text("path,score\n0.png,.1\n1.png,.2\n2.png,.3\n3.png,.4\n")


def test_a_label_of_another_picture_of_that_name_is_left_out(pictures, capsys):
    arguments = ["threshold", "s.csv", "--labels", "labels.csv"]
    assert cli.main(arguments) == 0
    said = capsys.readouterr().err
    assert "labels.csv: 4 pictures of s.csv, 2 damaged" in said
    assert "something else" not in said

    Image.new("RGB", (8, 8), "white").save("3.png")
    assert cli.main(arguments) == 0
    said = capsys.readouterr().err
    assert "labels.csv: 3 pictures of s.csv, 1 damaged and 2 good" in said
    assert "1 show something else now than when they were labelled" in said
    assert "left out: 3.png" in said

    Path("2.png").unlink()  # of what is not there nothing is known
    assert cli.main(arguments) == 0
    assert "labels.csv: 3 pictures" in capsys.readouterr().err


def test_labels_of_a_folder_that_uses_the_same_names_are_refused(pictures, capsys):
    for i in range(4):
        Image.new("RGB", (8, 8), (0, 0, i + 9)).save(f"{i}.png")
    assert cli.main(["threshold", "s.csv", "--labels", "labels.csv"]) == 1
    said = capsys.readouterr().err
    assert "0.png, 1.png, 2.png, ..." in said and "of another folder" in said


def test_labels_of_which_most_have_no_score_are_doubted(table, tmp_path, capsys):
    labels = write_labels(tmp_path / "l.csv", {38: 0, 39: 1, 40: 1, 41: 1, 42: 1})
    assert cli.main(["threshold", table, "--labels", labels]) == 0
    said = capsys.readouterr().err
    assert "3 more have no score there: photos/000040.png" in said
    assert "is it the labels.csv of another folder?" in said


@pytest.mark.parametrize("label, missing", [(1, "good"), (0, "damaged")])
def test_labels_of_one_kind_lead_on(label, missing, table, tmp_path, capsys):
    labels = write_labels(tmp_path / "l.csv", {1: label, 2: label})
    assert cli.main(["threshold", table, "--labels", labels]) == 1
    said = capsys.readouterr().err
    assert f"none that is {missing}" in said and "Label pictures" in said
    assert ("--normal-dir" in said) == (missing == "damaged")


def test_the_table_of_scores_is_no_table_of_labels(table, capsys):
    assert cli.main(["threshold", table, "--labels", table]) == 1
    assert "is the table of scores" in capsys.readouterr().err


def test_a_table_that_is_not_there_is_told_with_where_it_comes_from(table, capsys):
    assert cli.main(["threshold", "none.csv"]) == 1
    assert "none.csv: no such file. `skclipad score" in capsys.readouterr().err


def test_what_no_labels_show_is_said(table, labels, tmp_path, capsys):
    few = write_labels(tmp_path / "few.csv", {i: i % 2 for i in range(6)})
    assert cli.main(["threshold", table, "--labels", few]) == 0
    said = capsys.readouterr().err
    assert "in 67 of 100 pairs (AUROC 0.667; 50 is chance)" in said
    assert "Until then no threshold will do" in said
    assert "Nothing was changed: -d DETECTOR" in said

    many = write_labels(tmp_path / "many.csv", {i: int(i > 19) for i in range(40)})
    assert cli.main(["threshold", table, "--labels", many]) == 0
    assert "no threshold will do" not in capsys.readouterr().err
