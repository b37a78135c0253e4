"""References on the command line: a folder of normal images, or the folder itself."""

import os
from pathlib import Path

import numpy as np
from sklearn.base import clone

from skclipad._references import FEW, describe_references, described_references
from skclipad.cli._arguments import REFERENCE_OPTIONS, given
from skclipad.cli._by_folder import DetectorOfFolders, kind_of, shown_kind
from skclipad.cli._console import echo
from skclipad.cli._detectors import load_detector, new_detector
from skclipad.cli._pictures import find_images

MOST_KINDS = 3  # that are named on the terminal
EMPTY = np.zeros((2, 8, 8, 3), np.uint8)  # two images


def detector_to_score(args, paths):
    """Load the detector that scores images, or fit it, with references if asked for.

    With `--unlabelled` the images themselves are the references.
    """
    _check(args)
    if args.detector:
        detector = load_detector(args)
        if detector.references_ is not None:
            echo(f"references: {described_references(detector)}")
        return detector

    if not args.unlabelled and args.references is None:
        return new_detector(args).fit()
    images = paths if args.unlabelled else _images_in("--references", args.references)
    if args.by_folder:
        return _fit_by_folder(args, images, paths)

    detector = _fit(_unfitted(args), {"": images}, args)[""]
    _tell_mixture(args.pictures if args.unlabelled else [args.references], images)
    if detector.reference_method == "winclip":
        _tell_references_among(args, detector, images, paths)
    return detector


def fitted_detector(args):
    """Fit the detector that `skclipad fit` writes, with references if asked for."""
    _check(args)
    option = "--references" if args.unlabelled is None else "--unlabelled"
    folder = args.references if args.unlabelled is None else args.unlabelled
    if folder is None:
        return new_detector(args).fit()

    images = _images_in(option, folder)
    detector = _fit(_unfitted(args), {"": images}, args)[""]
    _tell_mixture([folder], images, "fit one detector for each of them")
    return detector.set_params(embedder__on_error=new_detector(args).embedder.on_error)


# What is asked for -------------------------------------------------------------------


def _check(args):
    """Refuse options that need others, or that mean nothing together."""
    named = _named_options(args)
    sources = [o for o in named if o in ("--references", "--unlabelled")]
    if args.detector and named:
        raise ValueError(
            f"Got --detector and {', '.join(named)}, but a detector has the references "
            "that it was fitted with, or none. Leave these options out, or pass them "
            "to `skclipad fit`, which makes another detector."
        )
    if named and not sources:
        raise ValueError(
            f"Got {', '.join(named)} without references. Name a folder of normal "
            "pictures with --references, or take pictures of which some may be damaged "
            "with --unlabelled."
        )
    if not args.unlabelled:
        return

    if args.n_shots is not None:
        raise ValueError(
            f"Got --n-shots {args.n_shots} with --unlabelled, but a few pictures drawn "
            "from a folder may be damaged ones: all of them are taken, at most "
            "--max-references. Leave --n-shots out, or name normal pictures with "
            "--references."
        )
    if given(args, REFERENCE_OPTIONS).get("reference_method") == "winclip":
        raise ValueError(
            "Got --reference-method winclip with --unlabelled, but winclip takes every "
            "reference for normal, damaged ones too. Leave it out, or name normal "
            "pictures with --references."
        )


def _named_options(args):
    """Return the options about references that were given."""
    settings = given(args, REFERENCE_OPTIONS)
    asked = {
        "--references": args.references is not None,
        "--unlabelled": bool(args.unlabelled),
        "--n-shots": args.n_shots is not None,
        "--by-folder": args.by_folder,
    }
    asked |= {o: name in settings for o, (name, *_) in REFERENCE_OPTIONS.items()}
    return [option for option, is_given in asked.items() if is_given]


def _unfitted(args):
    """Make a detector that takes references as the options say."""
    settings = {"n_shots": args.n_shots or "all"}
    if args.unlabelled:
        settings["reference_method"] = "mutual"
    if settings["n_shots"] == "all":
        settings["embedder__on_error"] = "nan"  # what cannot be read is left out
    settings |= given(args, REFERENCE_OPTIONS)
    return new_detector(args).set_params(**settings)


def _images_in(option, folder):
    images = find_images([folder])
    if not images:
        raise ValueError(
            f"{option} {folder} holds no pictures, but expected some to compare others "
            "with. Look for a slip in the name."
        )
    return images


# Fitting -----------------------------------------------------------------------------


def _fit(detector, kinds, args):
    """Say how many references there are and how large, and fit with them.

    `kinds` has the images of each kind of thing by its name, and what is returned its
    detector.
    """
    for kind, images in kinds.items():
        _check_number(detector, images, kind, args)
    n_taken = {kind: _n_taken(detector, images) for kind, images in kinds.items()}
    n_offered = sum(map(len, kinds.values()))
    n_bytes = _size_of(detector, n_taken.values())
    of_kinds = f", in {len(kinds):,} folders" if args.by_folder else ""
    what = describe_references(sum(n_taken.values()), n_offered, n_bytes)
    echo(f"references: {what}{of_kinds}")

    detectors = {k: clone(detector).fit(images) for k, images in kinds.items()}

    n_read = {kind: len(one.reference_rows_) for kind, one in detectors.items()}
    if n_unread := sum(n_taken.values()) - sum(n_read.values()):
        echo(f"references: {n_unread:,} of them cannot be read and are left out")
    if args.unlabelled:
        _check_variety(detectors)
    return detectors


def _n_taken(detector, images):
    if detector.n_shots != "all":
        return detector.n_shots
    return min(len(images), detector.max_references)


def _check_number(detector, images, kind, args):
    """Refuse too few images before anything is computed."""
    where = f" in {shown_kind(kind)}" if args.by_folder else ""
    if args.unlabelled and len(images) < 2:
        raise ValueError(
            f"Got 1 picture{where} with --unlabelled, but expected two at least, and "
            "better twenty: each is compared with the others. Add pictures, or leave "
            "--unlabelled out."
        )
    if detector.n_shots != "all" and len(images) < detector.n_shots:
        raise ValueError(
            f"--references {args.references} holds {len(images)} pictures{where}, but "
            f"--n-shots {detector.n_shots} needs as many. Ask for fewer, or add some."
        )


def _size_of(detector, numbers):
    """Tell how many bytes are kept of so many references in each of several detectors.

    It is measured on empty images, with the least of a network: only their number
    changes the size.
    """
    embedder = clone(detector.embedder).set_params(memory=None, verbose=False)
    embedder.set_params(region=None)  # empty images have no such place
    least = {"N_p": 2, "n_networks": 1, "prompt_set": "single", "combine": "sum"}
    small = clone(detector).set_params(memory=None, embedder=embedder, **least)
    kept = [small.set_params(n_shots=n).fit(EMPTY).references_ for n in (1, 2)]
    one, two = (sum(array.nbytes for array in arrays.values()) for arrays in kept)
    return sum(one + (n - 1) * (two - one) for n in numbers)


def _check_variety(detectors):
    """Refuse references that are all the same, and say where they are few."""
    few = []
    for kind, detector in detectors.items():
        where = f" in {shown_kind(kind)}" if kind else ""
        n = len(np.unique(detector.references_["digests"], axis=0))
        if n < 2:
            raise ValueError(
                f"Got {len(detector.reference_rows_)} readable pictures{where} of one "
                "and the same content with --unlabelled, but expected different ones: "
                "where all are alike, none stands out. Add pictures, or leave "
                "--unlabelled out."
            )
        if n < FEW:
            few.append(f"{n} different pictures{where}")

    if few:
        more = f" (and {len(few) - 1:,} more such folders)" if len(few) > 1 else ""
        echo(
            f"Note: {few[0]}{more} say little about what is usual. Expect s_img to be "
            "rough; twenty are better"
        )


# Kinds of things ---------------------------------------------------------------------


def _fit_by_folder(args, images, paths):
    """Fit a detector for each sub-folder, with the references that lie there."""
    roots = [*args.pictures, args.references, args.normal_dir]
    roots = [root for root in roots if root is not None and os.path.isdir(root)]
    kinds = _by_kind(images, roots)

    if not args.unlabelled:
        wanted = _by_kind(paths, roots)
        missing = [kind for kind in wanted if kind not in kinds]
        if missing:
            raise ValueError(
                f"Got pictures in {_listed(missing)}, but --references "
                f"{args.references} has pictures only in {_listed(kinds)}. With "
                "--by-folder each folder needs one of the same name there."
            )
        kinds = {kind: kinds[kind] for kind in wanted}
    return DetectorOfFolders.of(_fit(_unfitted(args), kinds, args), roots)


def _by_kind(images, roots):
    kinds = {}
    for image in images:
        kinds.setdefault(kind_of(image, roots), []).append(image)
    return kinds


def _listed(kinds):
    """Name some kinds of things, the first few of many."""
    names = [shown_kind(kind) for kind in kinds]
    more = len(names) - MOST_KINDS
    rest = f" and {more:,} more" if more > 0 else ""
    return ", ".join(names[:MOST_KINDS]) + rest


def _tell_mixture(roots, images, remedy="--by-folder compares each with its own"):
    """Say what to do if folders hold different things."""
    kinds = _by_kind(images, [root for root in roots if os.path.isdir(root)])
    if len(kinds) > 1:
        echo(
            f"Note: the references lie in {len(kinds):,} folders, {_listed(kinds)}. If "
            f"these show different kinds of things, {remedy}"
        )


def _tell_references_among(args, detector, images, paths):
    """Say which images are compared with themselves, and refuse it for thresholds."""
    references = {os.path.realpath(images[row]) for row in detector.reference_rows_}
    if args.normal_dir is not None:
        normal = Path(args.normal_dir).resolve()
        n = sum(Path(one).is_relative_to(normal) for one in references)
        if n:
            raise ValueError(
                f"Got {n} pictures in --normal-dir {args.normal_dir} that are "
                "references, but winclip would find each among the references, and the "
                "threshold would be too low. Keep other pictures for one of them, or "
                "take --reference-method mutual, which compares none with itself."
            )

    n = sum(os.path.realpath(path) in references for path in paths)
    if n:
        echo(
            f"Note: {n:,} of the pictures to score are references, which winclip takes "
            "for normal: their s_img is 0"
        )
