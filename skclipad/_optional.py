"""Packages that only some uses need."""

from importlib import import_module


def import_optional(name, extra):
    """Import a module of an optional dependency.

    Parameters
    ----------
    name : str
        The module, such as "matplotlib.pyplot".
    extra : str
        The extra of this package that installs it.

    Returns
    -------
    module
        The module.

    Raises
    ------
    ImportError
        If it cannot be imported; the message says what to install.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{name.partition('.')[0]} could not be imported ({error}), but this needs "
            f'it. Install it with `pip install "skclipad[{extra}]"`.'
        ) from error
