"""Every public object has a complete numpydoc docstring: no check is left out."""

import importlib
import inspect
import pkgutil

import pytest
from numpydoc.validate import validate

import skclipad


def public_modules():
    """Yield the package and its modules without a leading underscore."""
    yield skclipad
    for info in pkgutil.walk_packages(skclipad.__path__, "skclipad."):
        parts = info.name.split(".")[1:]
        # The folder of the bundled model is a package for its files' sake alone.
        if parts != ["tiny"] and not any(part.startswith("_") for part in parts):
            yield importlib.import_module(info.name)


def public_objects():
    """Return the dotted names of public functions, classes, methods, properties."""
    found = {}  # id of the object -> its first public name
    for module in public_modules():
        for name in module.__all__:
            thing = getattr(module, name)
            if inspect.isclass(thing) or inspect.isfunction(thing):
                found.setdefault(id(thing), (f"{module.__name__}.{name}", thing))
    names = []
    for dotted, thing in found.values():
        names.append(dotted)
        for cls in getattr(thing, "__mro__", ()):
            # What scikit-learn's base classes bring along is theirs to document.
            if cls.__module__.split(".")[0] == "skclipad":
                names += [
                    f"{dotted}.{name}"
                    for name, member in vars(cls).items()
                    if not name.startswith("_")
                    and (callable(member) or isinstance(member, property))
                ]
    return sorted(set(names))


def test_the_objects_are_found():
    names = public_objects()
    assert "skclipad.metrics.auroc" in names
    assert "skclipad.RandomWordCLIPDetector.predict_proba" in names


@pytest.mark.parametrize("name", public_objects())
def test_docstring_is_complete(name):
    errors = [f"{code}: {message}" for code, message in validate(name)["errors"]]
    assert not errors, "\n".join([name, *errors])


@pytest.mark.parametrize("module", list(public_modules()), ids=lambda m: m.__name__)
def test_public_module_has_a_docstring_and_lists_its_names(module):
    assert module.__doc__ and module.__doc__.strip().endswith(".")
    assert len(set(module.__all__)) == len(module.__all__)
