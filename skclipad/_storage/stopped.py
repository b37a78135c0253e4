"""Work that is stopped by an error after it has begun, and what is kept of it."""


class StoppedError(RuntimeError):
    """Work that had begun was stopped by the error that this one is raised from.

    `kept` says for people what is kept of it and how to go on; "" if nothing is.
    """

    def __init__(self, kept):
        super().__init__(kept or "nothing is kept")
        self.kept = kept


class Work:
    """Tell errors that stop work from those that keep it from being begun.

    As a context manager it lets errors pass until `begin` is called, and raises a
    `StoppedError` from those that come later. Interruptions and readers that have gone
    away are no errors.

    Examples
    --------
    >>> from skclipad._storage.stopped import StoppedError, Work
    >>> try:
    ...     with Work() as work:
    ...         work.begin("2 rows are kept")
    ...         [][0]
    ... except StoppedError as stop:
    ...     print(stop.kept, "but", stop.__cause__)
    2 rows are kept but list index out of range
    """

    def __init__(self):
        self._kept = None

    def begin(self, kept=""):
        """Say that work has begun, and what is kept of it if it is stopped.

        That is a text for people, or a function that is called when it is stopped.
        """
        self._kept = kept

    def __enter__(self):
        return self

    def __exit__(self, kind, error, traceback):
        is_fault = isinstance(error, Exception) and not isinstance(
            error, (BrokenPipeError, StoppedError)
        )
        if is_fault and self._kept is not None:
            kept = self._kept() if callable(self._kept) else self._kept
            raise StoppedError(kept) from error
