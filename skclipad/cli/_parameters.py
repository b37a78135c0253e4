"""Options that set parameters of the estimators, which several commands take.

Nothing here needs torch, so help and mistakes are quick.
"""

import argparse
import re

from skclipad.cli._console import all_or_number, one_of, share, whole_number

DETECTOR_HELP = """\
what `skclipad fit` wrote. Only open a file that you trust: loading it runs what is in
it"""
DETECTOR_OR_NONE_HELP = f"{DETECTOR_HELP} (default: fit one)"
THRESHOLD_HELP = "score above which a picture is labelled 1 (the detector's, 0.5)"

MODEL_OPTIONS = {
    "--model": (
        "embedder__model_name",
        str,
        "a CLIP of open_clip, local-dir:FOLDER, hf-hub:NAME, or a bundled one: lite (a "
        "small one, for photos) or tiny (for tests) (ViT-B-16-plus-240)",
    ),
    "--pretrained": (
        "embedder__pretrained",
        str,
        "which weights: a tag of open_clip or a file (laion400m_e32)",
    ),
}
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
    "--input-noise": (
        "input_noise",
        float,
        "noise added to the training texts; 1 is recommended (0, the paper's)",
    ),
    "--n-networks": (
        "n_networks",
        int,
        "networks to average the scores of; 5 are recommended (1, the paper's)",
    ),
    "--seed": ("random_state", int, "seed of words and training (0)"),
    **MODEL_OPTIONS,
    "--crops": (
        "embedder__crops",
        str,
        "what of a picture is looked at: whole; multi, it and overlapping parts of it, "
        "for small defects; tiles, squares along a long picture (whole)",
    ),
}
RUNNING_OPTIONS = {
    "--device": ("embedder__device", str, "auto, cpu, cuda, cuda:1 or mps (auto)"),
    "--precision": (
        "embedder__precision",
        str,
        "number format of the model: fp32, bf16, fp16, or int8, for CPUs; `skclipad "
        "info` says which are fast here (auto: fp16 on CUDA, fp32 elsewhere)",
    ),
    "--batch-size": ("embedder__batch_size", int, "pictures at once (32)"),
    "--region": (
        "embedder__region",
        str,
        "what is looked at of each picture: x,y,width,height in pixels, or a mask, a "
        "picture that is white where to look (all of it)",
    ),
    "--bit-depth": (
        "embedder__bit_depth",
        int,
        "bits that hold values in 16-bit pictures, say 12, as of many cameras (16)",
    ),
    "--decode": (
        "embedder__decode",
        one_of("full", "reduced"),
        "how JPEGs are decoded: reduced, at a half to an eighth of their size if they "
        "are large, is faster, and gives slightly other scores (full)",
    ),
    "--cache": (
        "embedder__memory",
        str,
        "folder that keeps the embeddings of pictures and prompts for the next run "
        "(none)",
    ),
}

# How images are compared with references; each is a parameter of the detector.
REFERENCE_OPTIONS = {
    "--reference-method": (
        "reference_method",
        one_of("winclip", "mutual"),
        "how: winclip, for a few that are known to be normal, or mutual, for many, of "
        "which some may be damaged (winclip; mutual with --unlabelled)",
    ),
    "--reference-share": (
        "reference_share",
        share,
        "with mutual, share of the references that a part has to be like (0.3)",
    ),
    "--reference-top": (
        "reference_top",
        share,
        "with mutual, share of a picture's parts, the worst ones, that make its score "
        "(0.03)",
    ),
    "--max-references": (
        "max_references",
        whole_number(1),
        "most pictures to keep of all; of more, so many are drawn (200)",
    ),
    "--combine": (
        "combine",
        one_of("auto", "sum", "standardized"),
        "how scores become one: by their sum, or by how unusual each is among the "
        "references (auto)",
    ),
}
REFERENCES_HELP = "pictures known to be normal to compare others with, a folder of them"
SHOTS_HELP = """\
how many pictures of --references to take, or all, up to --max-references (all)"""


def add_parameters(add, options):
    """Add options that set parameters."""
    for option, (name, kind, text) in options.items():
        # Left out of the namespace unless given: the estimators know their defaults.
        metavar = option.lstrip("-").replace("-", "_").upper()
        suppress = argparse.SUPPRESS
        add(option, dest=name, type=kind, default=suppress, metavar=metavar, help=text)


def given(args, options):
    """Return the parameters that arguments set for some options: value by name."""
    names = {name for name, *_ in options.values()}
    return {name: value for name, value in vars(args).items() if name in names}


# What errors advise for Python alone: an option does the same for a fitted detector.
FITTED = "; on a fitted detector `set_params(embedder__device='auto')`"


def in_options(message):
    """Write the parameters in an error's message as options.

    "Got N_p=0" becomes "Got --n-pairs 0".
    """
    message = message.replace(FITTED, "")
    options = DETECTOR_OPTIONS | RUNNING_OPTIONS | REFERENCE_OPTIONS
    for option, (name, *_) in options.items():
        name = rf"(?:embedder__)?{name.removeprefix('embedder__')}"
        message = re.sub(rf"set_params\({name}=([^)]*)\)", rf"{option} \1", message)
        message = re.sub(rf"\b{name}=(?=[\w'\"])", f"{option} ", message)
        message = re.sub(rf"\b{name}=|The '{name}' parameter of \w+", option, message)
    return message


def add_running(parser):
    """Add where and how it runs; return the group's way to add more."""
    add = parser.add_argument_group("where it runs").add_argument
    add_parameters(add, RUNNING_OPTIONS)
    return add


def add_settings(parser):
    """Add the settings of a detector that is fitted on the way."""
    group = parser.add_argument_group("settings, without --detector")
    add_parameters(group.add_argument, DETECTOR_OPTIONS)


def add_references(parser, references, unlabelled, **kind):
    """Add the options of references, and return their group's way to add more.

    `--unlabelled` takes a folder, but for a command whose own folder is meant: `kind`
    says how that is read.
    """
    group = parser.add_argument_group("references, to compare pictures with")
    either = group.add_mutually_exclusive_group().add_argument
    names = ["--references"] + (["--normal-dir"] if not kind else [])
    either(*names, metavar="DIR", dest="references", help=references)
    either("--unlabelled", help=unlabelled, **(kind or {"metavar": "DIR"}))
    add = group.add_argument
    add("--n-shots", type=all_or_number, metavar="K", help=SHOTS_HELP)
    add_parameters(add, REFERENCE_OPTIONS)
    return add
