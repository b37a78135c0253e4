"""Detectors on the command line: which options make one, and where it comes from."""

import argparse
import sys

import joblib

from skclipad._detector import RandomWordCLIPDetector
from skclipad._embedder import CLIPImageEmbedder

DETECTOR_HELP = """\
what `skclipad fit` wrote. Only open a file that you trust: loading it runs what is in
it"""

# What makes a detector, and where it runs; each is a parameter of an estimator.
DETECTOR_OPTIONS = {
    "--normal": ("normal_word", str, "word for normal things (a)"),
    "--anomaly": ("anomaly_word", str, "words for anomalous things (a damaged)"),
    "--object": ("object_name", str, "what the pictures show, if known (object)"),
    "--prompts": (
        "prompt_set",
        str,
        "what pictures are compared with: single, the paper's two, or winclip, its "
        "ensemble (single)",
    ),
    "--l-min": ("l_min", int, "shortest random word (5)"),
    "--l-max": ("l_max", int, "longest random word (10)"),
    "--n-pairs": ("N_p", int, "pairs of prompts to train on (10000)"),
    "--input-noise": ("input_noise", float, "noise added to the training texts (0)"),
    "--n-networks": ("n_networks", int, "networks to average the scores of (1)"),
    "--seed": ("random_state", int, "seed of words and training (0)"),
    "--model": (
        "embedder__model_name",
        str,
        "a CLIP of open_clip, local-dir:FOLDER, hf-hub:NAME, or tiny, the small "
        "bundled one (ViT-B-16-plus-240)",
    ),
    "--pretrained": (
        "embedder__pretrained",
        str,
        "which weights: a tag of open_clip or a file (laion400m_e32)",
    ),
    "--crops": ("embedder__crops", str, "whole, multi or tiles (whole)"),
}
RUNNING_OPTIONS = {
    "--device": ("embedder__device", str, "auto, cpu, cuda, cuda:1 or mps (auto)"),
    "--batch-size": ("embedder__batch_size", int, "pictures at once (32)"),
    "--cache": (
        "embedder__memory",
        str,
        "folder that keeps the embeddings of pictures and prompts for the next run "
        "(none)",
    ),
}


def add_parameters(add, options):
    """Add options that set parameters of the estimators.

    Parameters
    ----------
    add : callable
        `add_argument` of a parser or of a group.
    options : dict
        Option to (parameter, type, help).
    """
    for option, (name, kind, text) in options.items():
        # Left out of the namespace unless given: the estimators know their defaults.
        metavar = option.lstrip("-").replace("-", "_").upper()
        suppress = argparse.SUPPRESS
        add(option, dest=name, type=kind, default=suppress, metavar=metavar, help=text)


def given(args, options):
    """Return the parameters that were given.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments.
    options : dict
        Options to look for.

    Returns
    -------
    dict
        Value by name of the parameter.
    """
    names = {name for name, *_ in options.values()}
    return {name: value for name, value in vars(args).items() if name in names}


def new_detector(args):
    """Make an unfitted detector with the settings given.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments.

    Returns
    -------
    RandomWordCLIPDetector
        The detector, seeded with 0 unless the options say otherwise.
    """
    settings = given(args, DETECTOR_OPTIONS | RUNNING_OPTIONS)
    embedder = CLIPImageEmbedder(verbose=sys.stderr.isatty())
    detector = RandomWordCLIPDetector(embedder=embedder, random_state=0)
    memory = settings.get("embedder__memory")
    return detector.set_params(memory=memory, **settings)


def load_detector(args):
    """Load the detector that `--detector` names.

    Parameters
    ----------
    args : argparse.Namespace
        Parsed arguments, `detector` among them.

    Returns
    -------
    RandomWordCLIPDetector
        The detector, running where the options say.

    Raises
    ------
    ValueError
        If the file holds no detector, or settings were given too.
    OSError
        If there is no such file.
    """
    settings = given(args, DETECTOR_OPTIONS)
    if settings:
        options = [o for o, (name, *_) in DETECTOR_OPTIONS.items() if name in settings]
        raise ValueError(
            f"Got --detector and {', '.join(options)}, but the detector already has "
            "its settings. Leave these options out, or make another one with "
            "`skclipad fit`."
        )
    try:
        detector = joblib.load(args.detector)
    except OSError:
        raise
    except Exception as error:  # whatever unpickling a wrong file may raise
        raise ValueError(
            f"{args.detector} cannot be loaded ({type(error).__name__}: {error}). "
            "Expected a file that `skclipad fit` or joblib.dump wrote."
        ) from error
    if not isinstance(detector, RandomWordCLIPDetector):
        raise ValueError(
            f"{args.detector} holds a {type(detector).__name__}, but expected a "
            "RandomWordCLIPDetector, as `skclipad fit` writes it."
        )
    unknown = [n for n in detector._get_param_names() if not hasattr(detector, n)]
    if unknown:
        raise ValueError(
            f"{args.detector} was written by another version of skclipad, whose "
            f"detectors had no {', '.join(unknown)}. Make it again with `skclipad fit`."
        )
    if detector.embedder is None:
        detector.set_params(embedder=CLIPImageEmbedder())
    return detector.set_params(**given(args, RUNNING_OPTIONS))
