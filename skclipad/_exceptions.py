"""What can go wrong in a way of its own; each refines the builtin it inherits."""


class ImageReadError(ValueError):
    """An image cannot be read; the message names its row and what it was."""


class WeightsNotFoundError(FileNotFoundError):
    """The weights of a model are not on this machine and cannot be fetched."""


class PromptTooLongError(ValueError):
    """A prompt has more tokens than the text tower's context holds."""


class BackboneMismatchError(ValueError):
    """The backbone at hand is not the one that the detector was fitted with."""
