"""What can go wrong in a way of its own; each refines the builtin it inherits."""

import sys
import warnings

OURS = ("skclipad", "sklearn")


class ImageReadError(ValueError):
    """An image cannot be read; the message names its row and what it was.

    Raised for whatever is wrong with an image: a file that is missing, truncated or
    no image, an array of another shape, values outside the range of its type. With
    ``CLIPImageEmbedder(on_error="nan")`` the row becomes NaN instead.

    Attributes
    ----------
    image : str
        Which image it is, by row and path or kind.
    reason : str
        Why it cannot be read.

    See Also
    --------
    CLIPImageEmbedder : Reads the images.

    Examples
    --------
    >>> from skclipad import CLIPImageEmbedder, ImageReadError
    >>> try:
    ...     CLIPImageEmbedder("tiny").transform(["gone.jpg"])
    ... except ImageReadError as error:
    ...     print(error.reason)
    No such file or directory
    """

    image = reason = ""


class WeightsNotFoundError(FileNotFoundError):
    """The weights of a model are not on this machine and cannot be fetched.

    The message says which weights were wanted and the three ways to bring them: the
    cache of the model hub, a weights file, or a folder in the format of open_clip.

    See Also
    --------
    CLIPImageEmbedder : Names the model and its weights.

    Examples
    --------
    >>> from skclipad import CLIPImageEmbedder, WeightsNotFoundError
    >>> try:
    ...     CLIPImageEmbedder("local-dir:gone").encode_text(["a photo"])
    ... except WeightsNotFoundError as error:
    ...     print("open_clip_config.json" in str(error))
    True
    """


class PromptTooLongError(ValueError):
    """A prompt has more tokens than the text tower's context holds.

    Cutting it would lose its end, and with it, often, the word of state. Shorter
    random words (a smaller ``l_max``) or shorter words of state fit.

    See Also
    --------
    RandomWordCLIPDetector : Writes the prompts.

    Examples
    --------
    >>> from skclipad import CLIPImageEmbedder, PromptTooLongError
    >>> try:
    ...     CLIPImageEmbedder("tiny").encode_text(["word " * 100])
    ... except PromptTooLongError as error:
    ...     print("at most 77" in str(error))
    True
    """


class BackboneMismatchError(ValueError):
    """The backbone at hand is not the one that the detector was fitted with.

    Texts and images would not share a space, and the scores would mean nothing. Set
    the embedder back, or fit again.

    See Also
    --------
    RandomWordCLIPDetector : Remembers the backbone as ``backbone_``.

    Examples
    --------
    >>> from skclipad import BackboneMismatchError
    >>> issubclass(BackboneMismatchError, ValueError)
    True
    """


def warn_user(message):
    """Warn, and name the line of the user's that asked for the work.

    Parameters
    ----------
    message : str
        What to say, as a UserWarning.
    """
    level, frame = 2, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(OURS):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, UserWarning, stacklevel=level)
