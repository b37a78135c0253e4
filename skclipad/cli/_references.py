"""References on the command line: a folder of normal images, or the folder itself."""

from sklearn.base import clone

from skclipad._references import number_of_references, size_of_references
from skclipad.cli._by_folder import DetectorOfFolders
from skclipad.cli._console import echo
from skclipad.cli._detectors import load_detector, new_detector
from skclipad.cli._kinds import by_kind, folders_among, listed
from skclipad.cli._parameters import REFERENCE_OPTIONS, given
from skclipad.cli._pictures import find_images
from skclipad.cli._reference_checks import (
    check_number,
    check_options,
    check_variety,
    tell_mixture,
    tell_references_among,
)
from skclipad.cli._weights import check_weights


def detector_to_score(args, paths):
    """Load the detector that scores images, or fit it, with references if asked for.

    With `--unlabelled` the images themselves are the references.
    """
    check_options(args)
    if args.detector:
        return load_detector(args)

    check_weights(args)
    if not args.unlabelled and args.references is None:
        return new_detector(args).fit()
    images = paths if args.unlabelled else _images_in("--references", args.references)
    if args.by_folder:
        return _fit_by_folder(args, images, paths)

    detector = _fit_with(args, images)
    tell_mixture(args.pictures if args.unlabelled else [args.references], images)
    if detector.reference_method == "winclip":
        tell_references_among(args, detector, images, paths)
    return detector


def fitted_detector(args):
    """Fit the detector that `skclipad fit` writes, with references if asked for."""
    check_options(args)
    option = "--references" if args.unlabelled is None else "--unlabelled"
    folder = args.references if args.unlabelled is None else args.unlabelled
    if folder is None:
        return new_detector(args).fit()

    images = _images_in(option, folder)
    detector = _fit_with(args, images)
    tell_mixture([folder], images, "fit one detector for each of them")
    return detector.set_params(embedder__on_error=new_detector(args).embedder.on_error)


def _images_in(option, folder):
    images = find_images([folder])
    if not images:
        raise ValueError(
            f"{option} {folder} holds no pictures, but expected some to compare others "
            "with. Look for a slip in the name."
        )
    return images


def _fit_with(args, images):
    """Fit one detector with these images as its references."""
    return _fit(args, {"": images})[""]


def _fit_by_folder(args, images, paths):
    """Fit a detector for each sub-folder, with the references that lie there."""
    roots = folders_among([*args.pictures, args.references, args.normal_dir])
    kinds = by_kind(images, roots)
    if not args.unlabelled:
        wanted = by_kind(paths, roots)
        missing = [kind for kind in wanted if kind not in kinds]
        if missing:
            raise ValueError(
                f"Got pictures in {listed(missing)}, but --references "
                f"{args.references} has pictures only in {listed(kinds)}. With "
                "--by-folder each folder needs one of the same name there."
            )
        kinds = {kind: kinds[kind] for kind in wanted}
    return DetectorOfFolders.of(_fit(args, kinds), roots)


def _fit(args, kinds):
    """Say how many references there are, fit with them, and say how large they are.

    `kinds` has the images of each kind of thing by its name, and what is returned its
    detector.
    """
    detector = _unfitted(args)
    for kind, images in kinds.items():
        check_number(args, detector.n_shots, kind, images)
    n_taken = [_n_taken(detector, images) for images in kinds.values()]
    n_offered = sum(map(len, kinds.values()))
    of_kinds = f", in {len(kinds):,} folders" if args.by_folder else ""
    echo(f"references: {number_of_references(sum(n_taken), n_offered)}{of_kinds}")

    detectors = {k: clone(detector).fit(images) for k, images in kinds.items()}

    n_read = sum(len(one.reference_rows_) for one in detectors.values())
    if n_unread := sum(n_taken) - n_read:
        echo(f"references: {n_unread:,} of them cannot be read and are left out")
    echo(f"references: {size_of_references(detectors.values())} are kept of them")
    if args.unlabelled:
        check_variety(detectors)
    return detectors


def _unfitted(args):
    """Make a detector that takes references as the options say."""
    settings = {"n_shots": args.n_shots or "all"}
    if args.unlabelled:
        settings["reference_method"] = "mutual"
    if settings["n_shots"] == "all":
        settings["embedder__on_error"] = "nan"  # what cannot be read is left out
    settings |= given(args, REFERENCE_OPTIONS)
    return new_detector(args).set_params(**settings)


def _n_taken(detector, images):
    if detector.n_shots != "all":
        return detector.n_shots
    return min(len(images), detector.max_references)
