"""What it takes to make a run again: settings, versions, the command."""

import platform
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version

import skclipad
from skclipad._clip.sources import CAVEATS
from skclipad._embedder import embedder_of
from skclipad._references import describe_references

PACKAGES = ("open_clip_torch", "torch", "scikit-learn", "numpy", "scipy", "pillow")


def package_versions(missing=None):
    """Return the versions of this package and of those that scores depend on.

    The page of `write_report` shows them, and `skclipad info` prints them.

    Parameters
    ----------
    missing : str, default=None
        What to say of a package that is not installed; None leaves it out.

    Returns
    -------
    dict of str to str
        Version by name, Python's among them.

    Examples
    --------
    >>> from skclipad.report import package_versions
    >>> list(package_versions())[:2]
    ['skclipad', 'open_clip_torch']
    """
    versions = {"skclipad": skclipad.__version__}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            if missing is not None:
                versions[name] = missing
    return versions | {"python": platform.python_version()}


def describe_run(detector, *, command=None):
    """Say how scores were made, for the report's page.

    With it and the images, somebody else can make the same scores again.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A fitted detector.
    command : str, default=None
        The command that was run, if there was one.

    Returns
    -------
    dict of str to dict
        Sections "Run", "Detector", "Embedder" and "Versions", each of names and
        values. With a bundled model also "Notes": what it is no good for.

    Examples
    --------
    >>> from skclipad import CLIPImageEmbedder, RandomWordCLIPDetector
    >>> from skclipad.report import describe_run
    >>> detector = RandomWordCLIPDetector(
    ...     N_p=200, embedder=CLIPImageEmbedder(model_name="tiny"), random_state=0
    ... ).fit()
    >>> describe_run(detector)["Detector"]["N_p"]
    '200'
    """
    embedder = embedder_of(detector)

    run = {"date": f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M} UTC"}
    if command is not None:
        run["command"] = command
    run["backbone"] = detector.backbone_
    if detector.references_ is not None:
        run["references"] = describe_references(detector)
    run["fitted in"] = f"{detector.fit_time_:.1f} s"

    settings = {
        "Run": run,
        "Detector": _parameters_of(detector),
        "Embedder": _parameters_of(embedder),
        "Versions": package_versions(),
    }
    del settings["Detector"]["embedder"]

    # These bring their own weights: the tag is ignored, so it would mislead.
    if embedder.model_name in CAVEATS:
        settings["Embedder"]["pretrained"] = "none: bundled model"
        settings["Notes"] = {"model": CAVEATS[embedder.model_name]}
    elif embedder.model_name.startswith(("local-dir:", "hf-hub:")):
        settings["Embedder"]["pretrained"] = "none: weights of model_name"
    return settings


def _parameters_of(estimator):
    parameters = estimator.get_params(deep=False)
    return {name: repr(value) for name, value in parameters.items()}
