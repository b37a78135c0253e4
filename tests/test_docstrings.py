"""Every public object has a complete numpydoc docstring, and an example to see."""

import importlib
import inspect
import pkgutil

import pytest
from numpydoc.validate import validate

import skclipad
from skclipad._clip.sources import BUNDLED

# See Also, and an example of each method: where they help, not everywhere.
CEREMONY = {"SA01", "EX01"}


def public_modules():
    """Yield the package and its modules without a leading underscore."""
    yield skclipad
    for info in pkgutil.walk_packages(skclipad.__path__, "skclipad."):
        parts = info.name.split(".")[1:]
        # The folder of a bundled model is a package for its files' sake alone.
        if parts[0] not in BUNDLED and not any(part.startswith("_") for part in parts):
            yield importlib.import_module(info.name)


def public_things():
    """Return the public functions and classes by their first dotted name."""
    found = {}  # id of the object -> its first public name
    for module in public_modules():
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                found.setdefault(id(thing), (f"{module.__name__}.{name}", thing))
    return dict(sorted(found.values(), key=lambda pair: pair[0]))


THINGS = public_things()


def members():
    """Return the dotted names of the public methods and properties."""
    found = {
        f"{dotted}.{name}"
        for dotted, thing in THINGS.items()
        for cls in getattr(thing, "__mro__", ())
        # What scikit-learn's base classes bring along is theirs to document.
        if cls.__module__.split(".")[0] == "skclipad"
        for name, member in vars(cls).items()
        if not name.startswith("_")
        and (callable(member) or isinstance(member, property))
    }
    return sorted(found)


def faults(name):
    """Return what numpydoc misses in a docstring, by its code."""
    return dict(validate(name)["errors"])


def test_the_objects_are_found():
    assert "skclipad.metrics.auroc" in THINGS
    assert "skclipad.RandomWordCLIPDetector.predict_proba" in members()


@pytest.mark.parametrize("name", [*THINGS, *members()])
def test_docstring_is_complete(name):
    missing = {c: text for c, text in faults(name).items() if c not in CEREMONY}
    assert not missing, name


@pytest.mark.parametrize("name", THINGS)
def test_functions_and_classes_have_an_example(name):
    # A method is shown by the example of its class.
    assert "EX01" not in faults(name), f"{name} has no example"


@pytest.mark.parametrize("module", list(public_modules()), ids=lambda m: m.__name__)
def test_public_module_has_a_docstring_and_lists_its_names(module):
    assert module.__doc__ and module.__doc__.strip().endswith(".")
    assert len(set(module.__all__)) == len(module.__all__)
