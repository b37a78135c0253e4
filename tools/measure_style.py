"""Measure how a package is built: functions, paragraphs, docstrings, rooms, floors.

The same few numbers for this package and for any other that is installed, so that they
can be held side by side::

    python tools/measure_style.py skclipad sklearn.ensemble._iforest skorch

A name is a package, a module or a path. Files named by ``--leave-out`` (regular
expression on the path inside the package) are passed over.
"""

import argparse
import ast
import importlib.util
import re
import statistics
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from pathlib import Path

LONG = 15  # lines from which a function should have a paragraph


@dataclass
class Measured:
    """What was counted in some files."""

    files: int = 0
    lines: int = 0
    docstring_lines: int = 0
    comment_lines: int = 0
    functions: list = field(default_factory=list)  # lines of each, without docstring
    with_paragraph: int = 0  # of those with LONG lines or more
    folders: Counter = field(default_factory=Counter)
    imports: dict = field(default_factory=lambda: defaultdict(set))
    foreign: set = field(default_factory=set)  # private names taken from other files


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="+", help="packages, modules or paths")
    parser.add_argument("--leave-out", default=r"(^|/)tests?/", help="paths to skip")
    parser.add_argument("--show-foreign", action="store_true", help="list those names")
    args = parser.parse_args()

    found = {name: measure(name, re.compile(args.leave_out)) for name in args.names}
    print_table({name: summary(measured) for name, measured in found.items()})

    for name, measured in found.items():
        if len(measured.folders) > 1:
            print(f"\n{name}, lines by folder")
            for folder, lines in sorted(measured.folders.items()):
                print(f"  {folder:<24} {lines:>6,}")
        if args.show_foreign:
            print(*sorted(measured.foreign), sep="\n")


def measure(name, leave_out):
    """Count in all files of a package, or in one module.

    Parameters
    ----------
    name : str
        A path, or what can be imported.
    leave_out : re.Pattern
        Paths inside the package that are passed over.

    Returns
    -------
    Measured
        The counts.
    """
    root = locate(name)
    paths = [root] if root.is_file() else sorted(root.rglob("*.py"))
    base = root.parent

    measured = Measured()
    for path in paths:
        inside = path.relative_to(root if root.is_dir() else base).as_posix()
        if not leave_out.search(inside):
            count_file(measured, path, inside, root.stem)
    return measured


def locate(name):
    """Return the file or folder of a package, a module or a path."""
    if Path(name).exists():
        return Path(name)
    spec = importlib.util.find_spec(name)
    if spec is None:
        raise SystemExit(f"{name}: neither a path nor a package that can be imported")
    origin = Path(spec.origin)
    return origin.parent if origin.name == "__init__.py" else origin


def count_file(measured, path, inside, package):
    text = path.read_text(encoding="utf-8")
    tree, lines = ast.parse(text), text.splitlines()
    folder = inside.rpartition("/")[0]

    measured.files += 1
    measured.lines += len(lines)
    measured.folders[folder.split("/")[0] or "."] += len(lines)
    measured.comment_lines += sum(line.lstrip().startswith("#") for line in lines)

    own = names_made_here(tree)
    for node in ast.walk(tree):
        docstring = docstring_of(node)
        if docstring is not None:
            measured.docstring_lines += docstring.end_lineno - docstring.lineno + 1
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            count_function(measured, node, docstring, lines)
        count_import(measured, node, inside, package)
        if private := private_name(node):
            if private not in own:
                measured.foreign.add(f"{inside}: {private}")


def docstring_of(node):
    """Return the expression that is a node's docstring, or None."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    if not isinstance(node, kinds) or ast.get_docstring(node, clean=False) is None:
        return None
    return node.body[0]


def count_function(measured, node, docstring, lines):
    first = node.lineno
    body = lines[first - 1 : node.end_lineno]
    if docstring is not None:
        body = (
            lines[first - 1 : docstring.lineno - 1]
            + lines[docstring.end_lineno : node.end_lineno]
        )

    n_lines = sum(bool(line.strip()) for line in body)
    measured.functions.append(n_lines)
    if n_lines >= LONG and any(not line.strip() for line in body[1:-1]):
        measured.with_paragraph += 1


def count_import(measured, node, inside, package):
    """Note which file of the package an import names."""
    if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
        targets = [node.module, *(f"{node.module}.{a.name}" for a in node.names)]
    elif isinstance(node, ast.Import):
        targets = [alias.name for alias in node.names]
    else:
        return
    for target in targets:
        if target.split(".")[0] == package:
            measured.imports[module_of(inside)].add(".".join(target.split(".")[1:]))


def module_of(inside):
    return inside.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def names_made_here(tree):
    """Return the names that a file defines, assigns or declares."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            names.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def private_name(node):
    """Return the private name that a node takes from somewhere, or None."""
    if isinstance(node, ast.ImportFrom):
        private = [a.name for a in node.names if re.match(r"_[a-z]", a.name)]
        own = (node.module or "").split(".")[0] == "skclipad"
        return private[0] if private and own else None
    if not isinstance(node, ast.Attribute) or not re.match(r"_[a-z]", node.attr):
        return None
    return node.attr


def floors(imports):
    """Return how many modules stand on one another, and the imports of each on average.

    Parameters
    ----------
    imports : dict of str to set of str
        What each module imports, by its name inside the package.

    Returns
    -------
    depth : int
        Length of the longest chain of imports.
    mean : float
        Modules of the package that a module imports.
    """
    known = set(imports)
    graph = {
        m: {t for t in targets if t in known and t != m}
        for m, targets in imports.items()
    }
    depths = {}

    def depth(module, above=()):
        if module in above:  # a cycle is one floor
            return 0
        if module not in depths:
            below = [depth(t, (*above, module)) for t in graph[module]]
            depths[module] = 1 + max(below, default=0)
        return depths[module]

    longest = max(map(depth, graph), default=1)
    return longest, statistics.fmean(map(len, graph.values())) if graph else 0.0


def summary(m):
    """Return the printed values of what was measured, by the name of the row."""
    long = sum(n >= LONG for n in m.functions)
    depth, mean = floors(m.imports)
    tenth = sorted(m.functions)[int(0.9 * (len(m.functions) - 1))] if m.functions else 0

    return {
        "files": m.files,
        "lines": f"{m.lines:,}",
        "lines of a function, median / 90 % / longest": (
            f"{statistics.median(m.functions or [0]):.0f} / {tenth} / "
            f"{max(m.functions, default=0)}"
        ),
        "functions over 50 lines": sum(n > 50 for n in m.functions),
        f"functions of {LONG} lines with a blank line": (
            f"{m.with_paragraph / long:.0%} of {long}" if long else "-"
        ),
        "docstrings, share of lines": f"{m.docstring_lines / m.lines:.0%}",
        "comments, share of lines": f"{m.comment_lines / m.lines:.1%}",
        "floors of the import graph": depth,
        "imports of a module, mean": f"{mean:.1f}",
        "private names taken from other files": len(m.foreign),
    }


def print_table(columns):
    rows = list(next(iter(columns.values())))
    width = max(map(len, rows))
    print(" " * width, *(f"{name.rpartition('/')[2][-24:]:>24}" for name in columns))
    for row in rows:
        print(
            f"{row:<{width}}", *(f"{values[row]!s:>24}" for values in columns.values())
        )


if __name__ == "__main__":
    main()
