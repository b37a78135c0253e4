"""What is refused of references, and what is said of them."""

import os
from pathlib import Path

import numpy as np

from skclipad._references import FEW
from skclipad.cli._console import echo
from skclipad.cli._kinds import by_kind, folders_among, listed, shown_kind
from skclipad.cli._parameters import REFERENCE_OPTIONS, given


def check_options(args):
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


def check_number(args, n_shots, kind, images):
    """Refuse too few images before anything is computed."""
    where = f" in {shown_kind(kind)}" if args.by_folder else ""
    if args.unlabelled and len(images) < 2:
        raise ValueError(
            f"Got 1 picture{where} with --unlabelled, but expected two at least, and "
            "better twenty: each is compared with the others. Add pictures, or leave "
            "--unlabelled out."
        )
    if n_shots != "all" and len(images) < n_shots:
        raise ValueError(
            f"--references {args.references} holds {len(images)} pictures{where}, but "
            f"--n-shots {n_shots} needs as many. Ask for fewer, or add some."
        )


def check_variety(detectors):
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


def tell_mixture(roots, images, remedy="--by-folder compares each with its own"):
    """Say what to do if folders hold different things."""
    kinds = by_kind(images, folders_among(roots))
    if len(kinds) > 1:
        echo(
            f"Note: the references lie in {len(kinds):,} folders, {listed(kinds)}. If "
            f"these show different kinds of things, {remedy}"
        )


def tell_references_among(args, detector, images, paths):
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
