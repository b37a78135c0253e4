"""Which file may import what: the package stays a stack of rings, not a ball."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import skclipad

PACKAGE = Path(skclipad.__file__).parent

# A file imports from the rings before its own and, in its own, from its left.
RINGS = [
    # 0: words, prompts, equations, figures; no torch
    [
        *("_exceptions", "_words", "_prompts", "_sentences", "_scores"),
        *("_cache_file", "_store", "_prompt_embeddings", "_lock", "metrics"),
        "statistics",
    ],
    # 1: pictures and models
    ["_crops", "_images", "tiny", "_backbone"],
    # 2: texts and pictures into embeddings, embeddings into scores
    [
        *("_transformer", "_text", "_vision", "_network", "_training"),
        *("_windows", "_maps", "_references"),
    ],
    # 3: the estimators
    ["_embedder", "_components", "_repr", "_detector", "export"],
    # 4: what people meet
    [
        *("datasets", "plotting", "__init__", "benchmark", "report"),
        *("_rows", "distributed", "cli", "__main__"),
    ],
]
PLACES = {
    name: (ring, position)
    for ring, names in enumerate(RINGS)
    for position, name in enumerate(names)
}
HEAVY = {
    "open_clip": {"_backbone"},
    "torch": {"_backbone", *RINGS[2], "export"},
}
# Inside functions: extras, and what takes seconds and many uses never need.
LATE = {
    "_backbone": {"open_clip", "huggingface_hub", "transformers"},
    "cli": {"skclipad"},  # a command is imported when it is called
}
OPTIONAL = {
    "dask",
    "distributed",
    "matplotlib",
    "onnx",
    "onnxruntime",
    "pandas",
    "polars",
    "pyarrow",
    "skops",
}

FILES = sorted(PACKAGE.rglob("*.py"))


def room(path):
    """Return the module, or for a sub-package its folder, as RINGS names it."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(path):
    """Yield (node, name of the module imported, whether inside a function)."""
    stack = [(ast.parse(path.read_text(encoding="utf-8")), False)]
    while stack:
        node, inside = stack.pop()
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name, inside
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                # `from skclipad import x`: x may be a module or a name of __init__.
                yield node, f"{node.module}.{alias.name}", inside
        inside = inside or isinstance(
            node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
        )
        stack += [(child, inside) for child in ast.iter_child_nodes(node)]


def own_room(name):
    """Return the room of an import such as "skclipad._words.random_words"."""
    first = (name.split(".") + [""])[1]
    is_module = (PACKAGE / f"{first}.py").exists() or (PACKAGE / first).is_dir()
    return first if first and is_module else "__init__"


def test_the_files_are_found():
    assert {"__init__", "_words", "metrics", "datasets"} <= set(map(room, FILES))


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
            assert other == "datasets" or PLACES[other][0] == 0, (
                f"{path.relative_to(PACKAGE)}, line {node.lineno}: imports {other}"
            )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_heavy_packages_are_imported_where_they_belong(path):
    for node, name, _ in imports(path):
        top = name.split(".")[0]
        if top in HEAVY:
            assert room(path) in HEAVY[top], (
                f"{path.relative_to(PACKAGE)}, line {node.lineno}: {top} may be "
                f"imported by {sorted(HEAVY[top])} only"
            )


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_are_absolute_and_stand_at_the_top(path):
    for node, name, inside in imports(path):
        where = f"{path.relative_to(PACKAGE)}, line {node.lineno}"
        assert getattr(node, "level", 0) == 0, f"{where}: relative import"
        top = name.split(".")[0]
        if inside:
            allowed = OPTIONAL | LATE.get(room(path), set())
            assert top in allowed, f"{where}: {top} is no extra, import it at the top"
        else:
            # An extra at the top would make the module fail where it is missing.
            assert top not in OPTIONAL, f"{where}: {top} is an extra, import it inside"


def test_import_by_string_is_left_to_the_lazy_front():
    callers = {
        room(path)
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Name | ast.Attribute)
        and getattr(node, "id", getattr(node, "attr", None))
        in {"import_module", "__import__"}
    }
    assert callers <= {"__init__"}


def test_importing_the_package_loads_nothing_heavy():
    program = (
        "import sys, skclipad\n"
        "heavy = {'open_clip', 'torch', 'matplotlib', 'sklearn', 'pandas', 'PIL'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert output.stdout.strip() == "[]"
    assert output.stderr == ""


def test_the_front_offers_what_it_lists_and_nothing_else():
    for name in skclipad.__all__:
        assert getattr(skclipad, name) is not None
        assert name in dir(skclipad)
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = skclipad.no_such_name
