"""The documentation: its code runs as it stands, and nothing public is left out."""

import configparser
import contextlib
import doctest
import functools
import importlib
import inspect
import pickle
import pkgutil
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import skclipad
from skclipad import cli

ROOT = Path(__file__).parents[1]
ALIASES = {"tiny", "lite", "cli", "scoring", "benchmark"}
DOCS = ROOT / "docs"
# A build leaves one page of its own in the folder.
PAGES = sorted(set(DOCS.glob("*.rst")) - {DOCS / "sg_execution_times.rst"})
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.rst"]
SCRIPTS = sorted([*ROOT.glob("benchmarks/*.py"), *ROOT.glob("tools/*.py")])
WITH_CODE = [page for page in PAGES if ">>>" in page.read_text(encoding="utf-8")]


def toctree_entries(page):
    """Yield the names that a page's toctrees list."""
    text = page.read_text(encoding="utf-8")
    for block in re.findall(r"^\.\. toctree::\n((?:[ ]{3}.*\n|\n)*)", text, re.M):
        lines = (line.strip() for line in block.splitlines())
        yield from (line for line in lines if line and not line.startswith(":"))


def public_names():
    """Yield the dotted names that the package and its public modules list."""
    modules = [skclipad]
    for info in pkgutil.iter_modules(skclipad.__path__, "skclipad."):
        name = info.name.split(".")[1]
        # A bundled model's folder is a package for its files' sake alone, the
        # command line has a page of its own, and two rooms have another public name.
        if not name.startswith("_") and name not in ALIASES:
            modules.append(importlib.import_module(info.name))
    for module in modules:
        names = set(module.__all__) - {"__version__"}
        yield from (f"{module.__name__}.{name}" for name in sorted(names))


def test_there_are_pages_with_code():
    names = [page.stem for page in WITH_CODE]
    assert {"thresholds", "security", "user_guide"} <= set(names)


@pytest.mark.usefixtures("graphs_in_one_thread")
@pytest.mark.parametrize("page", WITH_CODE, ids=lambda page: page.stem)
def test_code_of_page_runs(page):
    flags = doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS
    failures, tried = doctest.testfile(
        str(page), module_relative=False, optionflags=flags
    )
    assert tried > 0
    assert failures == 0


def test_every_page_is_in_a_toctree():
    listed = {entry for page in PAGES for entry in toctree_entries(page)}
    assert {page.stem for page in PAGES} - {"index"} <= listed


def test_every_public_name_is_in_the_reference():
    text = (DOCS / "api.rst").read_text(encoding="utf-8")
    module, listed = "skclipad", set()
    for line in text.splitlines():
        if found := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = found[1]
        elif found := re.match(r"\.\. py:data:: (\S+)", line):
            listed.add(found[1])
        elif found := re.match(r"   (\w+)$", line):
            listed.add(f"{module}.{found[1]}")
    assert listed == set(public_names())


def test_estimators_link_to_the_reference_in_essays_and_nowhere_else(monkeypatch):
    conf = (DOCS / "conf.py").read_text(encoding="utf-8")
    (template,) = re.findall(r'^REFERENCE = "(.+)"', conf, re.M)
    for estimator in (skclipad.CLIPImageEmbedder, skclipad.RandomWordCLIPDetector):
        assert estimator()._get_doc_link() == ""
        monkeypatch.setattr(estimator, "_doc_link_module", "skclipad")
        monkeypatch.setattr(estimator, "_doc_link_template", template)
        page = f"../generated/skclipad.{estimator.__name__}.html"
        assert estimator()._get_doc_link() == page
        assert f'href="{page}' in estimator()._repr_html_()


# Commands


def literals(page):
    """Return the inline literals and the lines of literal blocks of a page."""
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".md":
        return re.findall(r"(?<!`)`([^`]+)`(?!`)", text), console_lines(text)
    blocks = re.findall(r"(?:::|:: console)\n\n((?:    .*\n|\n)+)", text)
    inline = [" ".join(found.split()) for found in re.findall(r"``(.+?)``", text, re.S)]
    return inline, [line.strip() for block in blocks for line in block.splitlines()]


def console_lines(text):
    blocks = re.findall(r"```console\n(.*?)```", text, re.S)
    return [line.strip() for block in blocks for line in block.splitlines()]


def commands(program):
    """Yield (page, arguments) of every line of a block that runs a program."""
    for page in TEXTS:
        for line in literals(page)[1]:
            words = shlex.split(line, comments=True) if program in line else []
            if program in words:
                words = words[words.index(program) + 1 :]
                ends = [i for i, word in enumerate(words) if word in ("|", ">")]
                yield pytest.param(words[: min(ends, default=None)], id=line)


@pytest.mark.parametrize("words", commands("skclipad"))
def test_commands_are_ones_that_the_command_line_knows(words, monkeypatch):
    for command in cli.COMMANDS:
        monkeypatch.setattr(cli._module_of(command), "run", lambda args: 0)
    assert cli.main(words) == 0


def options_of(command, capsys):
    cli.main([command, "--help"])
    return set(re.findall(r"--[a-z][a-z0-9-]*", capsys.readouterr().out))


def test_options_that_pages_name_are_there(capsys):
    known = {command: options_of(command, capsys) for command in cli.COMMANDS}
    anywhere = set().union(*known.values(), {"--version", "--help"})
    for page in TEXTS:
        for literal in literals(page)[0]:
            words = literal.split()
            options = {word for word in words if re.match(r"--[a-z][a-z-]+$", word)}
            if words[:1] == ["skclipad"] and words[1:2]:
                assert words[1] in known or words[1] in ("COMMAND", "..."), literal
                assert options <= known.get(words[1], anywhere) | {"--help"}, literal
            elif words and words[0].startswith("--"):
                scripts = "".join(s.read_text(encoding="utf-8") for s in SCRIPTS)
                assert all(o in anywhere or f'"{o}"' in scripts for o in options), (
                    page.name,
                    literal,
                )


def test_scripts_that_print_figures_are_there_and_have_the_options():
    run = re.compile(r"python ((?:benchmarks|tools|examples)/\S+\.py)((?: +\S+)*)")
    n_found = 0
    for page in TEXTS:
        inline, lines = literals(page)
        for script, arguments in run.findall("\n".join([*inline, *lines])):
            source = (ROOT / script).read_text(encoding="utf-8")
            for option in re.findall(r"--[a-z][a-z-]+", arguments):
                assert f'"{option}"' in source, (page.name, script, option)
            n_found += 1
    assert n_found > 10


def test_scripts_that_pages_name_are_there():
    for page in TEXTS:
        named = r"\b(?:benchmarks|tools|examples|tests)/[\w/]+\.\w+"
        for path in re.findall(named, page.read_text(encoding="utf-8")):
            assert (ROOT / path).exists(), (page.name, path)


def test_make_targets_that_pages_name_are_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in TEXTS:
        inline, lines = literals(page)
        for target in re.findall(r"^make ([a-z-]+)", "\n".join(inline + lines), re.M):
            assert f"\n{target}:" in makefile, (page.name, target)


# Names


def resolve(dotted):
    """Return what a dotted name stands for."""
    parts = dotted.split(".")
    for n in range(len(parts), 0, -1):
        with contextlib.suppress(ImportError):
            thing = importlib.import_module(".".join(parts[:n]))
            return functools.reduce(getattr, parts[n:], thing)
    raise ImportError(dotted)


def test_names_that_pages_link_to_are_there():
    last_names = {name.split(".")[-1] for name in public_names()}
    role = re.compile(r":(?:func|class|exc|meth|mod|attr):`([^`]+)`")
    for page in PAGES:
        for target in role.findall(page.read_text(encoding="utf-8")):
            name = re.sub(r".*<(.*)>", r"\1", target, flags=re.S).lstrip("~")
            if name not in last_names:
                assert resolve(name) is not None, (page.name, name)


def test_pages_that_pages_link_to_are_there():
    for page in PAGES:
        for target in re.findall(r":doc:`([^`]+)`", page.read_text(encoding="utf-8")):
            name = re.sub(r".*<(.*)>", r"\1", target, flags=re.S)
            if name.startswith("auto_examples/") and name != "auto_examples/index":
                assert (ROOT / "examples" / f"{Path(name).name}.py").exists(), name
            elif name != "auto_examples/index":
                assert (DOCS / f"{name}.rst").exists(), (page.name, name)


def parameters():
    """Return the names of parameters of everything public."""
    names = set()
    for dotted in public_names():
        thing = resolve(dotted)
        members = [thing, *vars(thing).values()] if isinstance(thing, type) else [thing]
        for member in members:
            member = getattr(member, "__func__", member)  # of a classmethod
            if callable(member):
                with contextlib.suppress(ValueError, TypeError):
                    names |= set(inspect.signature(member).parameters)
    return names


def test_parameters_that_pages_set_are_there():
    known = parameters()
    known |= {f"embedder__{name}" for name in known}
    # Of scikit-learn, joblib, torch and open_clip.
    known |= {"cv", "scoring", "weights_only", "bpe_path"}
    known.add("t")  # of a frame, clip.mp4#t=12.480
    for page in TEXTS:
        for literal in literals(page)[0]:
            for name in re.findall(r"(?<![\w-])([a-zA-Z_]+)=(?!=)", literal):
                # In capitals: a variable of the environment.
                is_variable = name.isupper() and len(name) > 3
                assert name in known or is_variable, (page.name, literal)


# What the pages say of the package


PAPER = {
    "l_min": 5,
    "l_max": 10,
    "N_p": 10_000,
    "normal_word": "a",
    "anomaly_word": "a damaged",
    "object_name": "object",
    "scores": "auto",
    "prompt_set": "single",
    "temperature": 0.01,
    "n_epochs": 2,
    "batch_size": 128,
    "learning_rate": 1e-3,
    "weight_decay": 1e-4,
    "n_shots": 0,
}
OURS = {"hidden_layer_sizes", "dropout", "lr_decay", "combine_views", "threshold"}
NOT_THE_PAPERS = {"normalize"}
ADDED = {"input_noise", "n_networks", "combine"}
ADDED |= {"reference_method", "reference_share", "reference_top", "max_references"}
NOT_OF_THE_METHOD = {"memory", "random_state", "embedder"}
# It matters only with several prompts.
WITH_OTHERS = {"prompt_average"}


def test_fidelity_says_of_every_default_whose_it_is():
    defaults = skclipad.RandomWordCLIPDetector().get_params(deep=False)
    named = set(PAPER) | OURS | NOT_THE_PAPERS | ADDED
    assert named | NOT_OF_THE_METHOD | WITH_OTHERS >= set(defaults)
    assert {name: defaults[name] for name in PAPER} == PAPER
    text = (DOCS / "fidelity.rst").read_text(encoding="utf-8")
    beginning = text.partition("Words and prompts\n===")[0]
    for name in sorted(named):
        assert f"`{name}`" in beginning, name


def test_fidelity_counts_as_the_code_does():
    from skclipad._method.words import ALPHABET

    letters = [letter for letter in ALPHABET if letter.isalpha()]
    assert len(ALPHABET) == 62 and len({c.lower() for c in ALPHABET}) == 36
    assert round(100 * len(letters) / len(ALPHABET)) == 84
    detector = skclipad.RandomWordCLIPDetector(
        N_p=130, embedder=skclipad.CLIPImageEmbedder("tiny"), random_state=0
    ).fit()
    # 64 pairs to a batch, the rest in one of its own, twice.
    assert detector.n_iter_ == 2 * 3


def test_extras_of_the_readme_are_those_of_the_package():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = {
        name: {re.split(r"[\[>]", line)[0] for line in lines.split()}
        for name, lines in setup["options.extras_require"].items()
    }
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| .* \| (.*) \|$", readme, re.M)
    for name, brings in rows:
        brought = set(brings.split(", ")) - {"distributed"}
        assert brought == extras[name], name
    shown = {name for name, _ in rows}
    assert shown == set(extras) - {"all", "docs", "others", "test"}
    assert extras["all"] == set().union(*(extras[name] for name in shown))


def test_map_of_contributing_is_the_one_that_is_checked():
    from test_imports import RINGS

    text = (ROOT / "CONTRIBUTING.rst").read_text(encoding="utf-8")
    tree = text.partition("    skclipad/\n")[2].partition("\n\n")[0]
    rings = re.split(r"^      ring \d: .*\n", tree, flags=re.M)[1:]
    found = [re.findall(r"^        (\w+)(?:\.py|/) ", ring, re.M) for ring in rings]
    assert found == RINGS


def test_what_is_loaded_when_is_as_the_faq_says():
    code = """
import pickle, sys
import skclipad
loaded = lambda: [name in sys.modules for name in ("torch", "open_clip")]
steps = [loaded()]
skclipad.RandomWordCLIPDetector, skclipad.CLIPImageEmbedder
steps.append(loaded())
detector = pickle.load(sys.stdin.buffer)
detector.predict([[0.5] * 96])
steps.append(loaded())
print(steps)
"""
    detector = skclipad.RandomWordCLIPDetector(
        N_p=100, embedder=skclipad.CLIPImageEmbedder("tiny"), random_state=0
    ).fit()
    done = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(detector), capture_output=True
    )
    expected = b"[[False, False], [True, False], [True, False]]"
    assert done.stdout.strip() == expected, done.stderr.decode()


def test_names_in_backticks_are_there():
    estimators = (skclipad.RandomWordCLIPDetector, skclipad.CLIPImageEmbedder)
    known = parameters() | {name.split(".")[-1] for name in public_names()}
    for estimator in estimators:
        known |= set(dir(estimator))
        known |= set(re.findall(r"^(\w+_) :", inspect.getdoc(estimator), re.M))
    known |= {"s_pr", "s_fnn", "s_img", "uint8", "clone", "paths", "labels"}
    for page in PAGES:
        text = re.sub(r"``.*?``", "", page.read_text(encoding="utf-8"), flags=re.S)
        for name in re.findall(r"(?<![:\w`])`([A-Za-z_]\w*)`(?![`_])", text):
            assert name in known or "laion" in name, (page.name, name)
