"""Which file may import what: the package stays a stack of rings, not a ball."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

import skclipad

PACKAGE = Path(skclipad.__file__).parent

# A file imports from the rings before its own and, in its own, from its left.
RINGS = [
    # 0: what is kept, and what is counted; no torch
    [
        "_exceptions",
        "_optional",
        "_system",
        "_storage",
        "metrics",
        "statistics",
        "thresholds",
        "boxes",
    ],
    # 1: images, and CLIP; nothing of the method
    ["_images", "tiny", "lite", "_clip"],
    # 2: the paper and WinCLIP, on embeddings and features
    ["_method"],
    # 3: the two estimators
    [
        "_inputs",
        "_embedder",
        "_references",
        "_repr",
        "_combination",
        "_image_scores",
        "_callbacks",
        "_detector",
    ],
    # 4: what is made of many scores
    ["__init__", "scoring", "distributed", "datasets", "plotting", "report", "export"],
    # 5: what people meet
    ["paper", "benchmark", "cli", "__main__"],
]
PLACES = {
    name: (ring, position)
    for ring, names in enumerate(RINGS)
    for position, name in enumerate(names)
}
HEAVY = {
    "open_clip": {"_clip/importing"},
    "torch": {"_clip", "_method", "export"},
}
# Inside functions: extras, and what takes seconds and many uses never need.
LATE = {
    "_clip/importing": {"open_clip"},
    "_clip/configs": {"transformers"},
    "_clip/sources": {"huggingface_hub"},
    "cli": {"skclipad"},  # a command is imported when it is called
}
OPTIONAL = {
    "av",
    "dask",
    "distributed",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "pandas",
    "polars",
    "pyarrow",
    "skops",
    "watchdog",
}

FILES = sorted(PACKAGE.rglob("*.py"))


def room(path):
    """Return the module, or for a sub-package its folder, as RINGS names it."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def belongs(path, names):
    """Tell whether a file, or the folder that it lies in, is among names."""
    return bool({room(path), inside(path)} & set(names))


def inside(path):
    """Return the name of a file inside the package, such as "_clip/backbone"."""
    return path.relative_to(PACKAGE).as_posix().removesuffix(".py")


@functools.cache
def imports(path):
    """List (node, name of the module imported, whether inside a function)."""
    found, stack = [], [(ast.parse(path.read_text(encoding="utf-8")), False)]
    while stack:
        node, late = stack.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                found.append((node, alias.name, late))
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                # `from skclipad import x`: x may be a module or a name of __init__.
                found.append((node, f"{node.module}.{alias.name}", late))
        late = late or isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
        )
        stack += [(child, late) for child in ast.iter_child_nodes(node)]
    return found


def own_room(name):
    """Return the room of an import such as "skclipad._method.words.random_words"."""
    first = (name.split(".") + [""])[1]
    is_module = (PACKAGE / f"{first}.py").exists() or (PACKAGE / first).is_dir()
    return first if first and is_module else "__init__"


def test_the_files_are_found():
    assert {"__init__", "_method", "metrics", "datasets"} <= set(map(room, FILES))
    assert {"_clip/backbone", "_method/words", "cli/_score"} <= set(map(inside, FILES))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_file_has_a_place_and_imports_only_from_below_or_its_left(path):
    own = room(path)
    assert own in PLACES, (
        f"{path.relative_to(PACKAGE)} has no place: add {own!r} to RINGS in this "
        "test, in the lowest ring whose imports it needs"
    )
    for node, name, _ in imports(path):
        if name.split(".")[0] != "skclipad":
            continue
        other = own_room(name)
        assert other in PLACES, f"line {node.lineno}: {other!r} has no place"
        same_folder = own == other and path.parent != PACKAGE
        assert same_folder or PLACES[other] < PLACES[own], (
            f"{path.relative_to(PACKAGE)}, line {node.lineno}: {own} (ring "
            f"{PLACES[own][0]}) imports {other} (ring {PLACES[other][0]}), which is "
            "neither below it nor to its left"
        )


@pytest.mark.parametrize(
    "path",
    [path for path in FILES if room(path) == "datasets"],
    ids=lambda p: str(p.relative_to(PACKAGE)),
)
def test_datasets_stand_on_ring_0_alone(path):
    for node, name, _ in imports(path):
        if name.split(".")[0] == "skclipad":
            other = own_room(name)
            # And on the list of endings by which a search knows images.
            allowed = name.startswith("skclipad._images.endings")
            assert allowed or other == "datasets" or PLACES[other][0] == 0, (
                f"{path.relative_to(PACKAGE)}, line {node.lineno}: imports {other}"
            )


def test_files_of_a_folder_do_not_import_each_other_in_a_circle():
    targets = {inside(path): set() for path in FILES}
    for path in FILES:
        for _, name, _ in imports(path):
            package, *parts = name.split(".")
            if package != "skclipad":
                continue
            for n in range(1, len(parts) + 1):
                if (other := "/".join(parts[:n])) in targets:
                    targets[inside(path)].add(other)
    while bottom := {name for name, others in targets.items() if not others}:
        targets = {
            name: others - bottom
            for name, others in targets.items()
            if name not in bottom
        }
    assert not targets


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_packages_are_imported_where_they_belong(path):
    for node, name, _ in imports(path):
        top = name.split(".")[0]
        if top in HEAVY:
            assert belongs(path, HEAVY[top]), (
                f"{path.relative_to(PACKAGE)}, line {node.lineno}: {top} may be "
                f"imported by {sorted(HEAVY[top])} only"
            )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_are_absolute_and_stand_at_the_top(path):
    for node, name, late in imports(path):
        where = f"{path.relative_to(PACKAGE)}, line {node.lineno}"
        assert getattr(node, "level", 0) == 0, f"{where}: relative import"
        top = name.split(".")[0]
        if late:
            allowed = set(OPTIONAL).union(
                *(tops for place, tops in LATE.items() if belongs(path, [place]))
            )
            assert top in allowed, f"{where}: {top} is no extra, import it at the top"
        else:
            # An extra at the top would make the module fail where it is missing.
            assert top not in OPTIONAL, f"{where}: {top} is an extra, import it inside"


def test_import_by_string_is_left_to_what_is_lazy_and_to_extras():
    callers = {
        inside(path)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name | ast.Attribute)
        and getattr(node, "id", getattr(node, "attr", None))
        in {"import_module", "__import__"}
    }
    assert callers <= {"__init__", "_optional", "_clip/importing"}


@pytest.mark.parametrize(
    ("step", "needed"),
    [
        ("import skclipad", set()),
        # The endings of images are those that Pillow reads.
        ("from skclipad.cli import main; main(['score', '--help'])", {"PIL"}),
    ],
    ids=["import", "help"],
)
def test_nothing_heavy_is_loaded_before_it_is_needed(step, needed):
    heavy = {"numpy", "torch", "open_clip", "matplotlib", "sklearn", "pandas", "PIL"}
    program = f"import sys; {step}; sys.exit(repr({heavy} & set(sys.modules)))"
    output = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True
    )
    assert output.stderr.strip() == repr(needed)


def test_the_front_offers_what_it_lists_and_nothing_else():
    for name in skclipad.__all__:
        assert getattr(skclipad, name) is not None
        assert name in dir(skclipad)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = skclipad.no_such_name
