"""Detectors on the command line: made of options, or loaded from a file."""

import sys

import joblib

from skclipad._clip.sources import CAVEATS
from skclipad._detector import RandomWordCLIPDetector
from skclipad._embedder import CLIPImageEmbedder, load_clip
from skclipad._images.regions import blank_image
from skclipad.cli._console import echo
from skclipad.cli._parameters import DETECTOR_OPTIONS, RUNNING_OPTIONS, given
from skclipad.scoring._rows import detector_identity


def new_detector(args):
    """Make an unfitted detector with the settings given, seeded with 0 if none is."""
    settings = given(args, DETECTOR_OPTIONS | RUNNING_OPTIONS)
    embedder = CLIPImageEmbedder(verbose=sys.stderr.isatty())
    detector = RandomWordCLIPDetector(embedder=embedder, random_state=0)
    memory = settings.get("embedder__memory")
    return detector.set_params(memory=memory, **settings)


def load_detector(args):
    """Load the detector that `--detector` names, running where the options say.

    A ValueError tells that the file holds none, or that settings were given too.
    """
    settings = given(args, DETECTOR_OPTIONS)
    if settings:
        options = [o for o, (name, *_) in DETECTOR_OPTIONS.items() if name in settings]
        raise ValueError(
            f"Got --detector and {', '.join(options)}, but the detector already has "
            "its settings. Leave these options out, or make another one with "
            "`skclipad fit`."
        )

    detector = _unpickled(args.detector)
    _check_version(args.detector, detector)
    if detector.embedder is None:
        detector.set_params(embedder=CLIPImageEmbedder())
    return detector.set_params(**given(args, RUNNING_OPTIONS))


def _unpickled(name):
    """Return the detector that a file holds; a ValueError tells that it holds none."""
    try:
        detector = joblib.load(name)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{name}: No such file. `skclipad fit -o {name}` makes a detector."
        ) from error
    except OSError:
        raise
    except Exception as error:  # whatever unpickling a wrong file may raise
        raise ValueError(
            f"{name} cannot be loaded ({type(error).__name__}: {error}). Expected a "
            "file that `skclipad fit` or joblib.dump wrote."
        ) from error

    if not isinstance(detector, RandomWordCLIPDetector):
        raise ValueError(
            f"{name} holds a {type(detector).__name__}, but expected a "
            "RandomWordCLIPDetector, as `skclipad fit` writes it."
        )
    return detector


def _check_version(name, detector):
    """Refuse a detector that lacks parameters of today."""
    estimators = [one for one in (detector, detector.embedder) if one is not None]
    unknown = [
        parameter
        for estimator in estimators
        for parameter in estimator._get_param_names()
        if not hasattr(estimator, parameter)
    ]
    if unknown:
        raise ValueError(
            f"{name} was written by another version of skclipad, whose detectors had "
            f"no {', '.join(unknown)}. Make it again with `skclipad fit`."
        )


def ready_to_score(detector):
    """Let a detector give bad images no score; return the names of its scores."""
    detector.set_params(embedder__on_error="nan", embedder__verbose=False)
    warn_of_bundled(detector)

    # One empty picture: here it shows if the model is not the one that `fit` used.
    return detector.score_components([blank_image(detector.embedder.region)])


def run_identity(detector):
    """Say what determines the scores; labels are made anew by the threshold."""
    numbers = load_clip(detector.embedder).numbers
    return detector_identity(detector, leave_out=("threshold",)) | {"numbers": numbers}


def warn_of_bundled(detector):
    """Say what a bundled model is no good for, if one is in use."""
    name = detector.embedder.model_name
    if name in CAVEATS:
        echo(f"Note: {CAVEATS[name]}")
