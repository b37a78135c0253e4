"""The import of open_clip: late, and without torch's compiler.

It takes seconds and brings torchvision and timm; an estimator that is only cloned,
unpickled or fed with embeddings never needs it. Both of these import the compiler to
take a function of it: some 870 modules and another second, for towers that nobody
compiles.
"""

import functools
import importlib
import sys
from contextlib import contextmanager
from types import ModuleType

from skclipad._storage.forks import hold_while_forking

# Functions that are taken while open_clip is imported: timm marks methods of its NaFlex
# towers with the first, torchvision's roi_align asks the second before it computes.
PACKAGE = "torch._dynamo"
TAKEN = {PACKAGE: {"disable"}, f"{PACKAGE}.utils": {"is_compile_supported"}}

making = hold_while_forking()  # what a child of a fork must not find half done


def import_open_clip():
    """Return open_clip; an ImportError says how to get it."""
    try:
        with making, compiler_left_for_later():
            import open_clip
    except ImportError as e:
        raise ImportError(
            "open_clip could not be imported, but reading images or texts needs it. "
            f"Install it with `pip install open_clip_torch`. The reason was: {e}"
        ) from e
    return open_clip


@contextmanager
def compiler_left_for_later():
    """Put off what is imported meanwhile of torch's compiler until it is called."""
    if not TAKEN.keys().isdisjoint(sys.modules):
        yield
        return

    sys.modules.update({name: _StandIn(name) for name in TAKEN})
    try:
        yield
    finally:
        _make_way()


def _make_way():
    """Let the next import find the real modules."""
    for name in TAKEN:
        if isinstance(sys.modules.get(name), _StandIn):
            del sys.modules[name]


class _StandIn(ModuleType):
    """A module whose functions are those of the real one, imported when called."""

    def __getattr__(self, name):
        # The import system looks for the first where a module inside is imported, and
        # for others where there may be none.
        if name.startswith("__") and (self.__name__, name) != (PACKAGE, "__path__"):
            raise AttributeError(name)
        find = functools.partial(_find, self.__name__, name)
        if name == "disable":
            return functools.partial(_marked, find)
        if name in TAKEN[self.__name__]:
            return lambda *args, **kwargs: find()(*args, **kwargs)
        return find()  # of another release of torch, torchvision or timm


def _find(module, name):
    """Return what the real module has under a name."""
    _make_way()
    return getattr(importlib.import_module(module), name)


def _marked(find, function=None, *args, **kwargs):
    """Return a function that the compiler leaves alone, marked when it is called."""
    if function is None:
        return lambda function: _marked(find, function, *args, **kwargs)

    @functools.cache
    def real():
        return find()(function, *args, **kwargs)

    @functools.wraps(function)
    def marked(*inputs, **options):
        return real()(*inputs, **options)

    return marked
