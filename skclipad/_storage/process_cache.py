"""What a process computed once, kept while there is room for it."""

from cachetools import LRUCache

from skclipad._storage.forks import ForkSafeLock

_caches = []


class ProcessCache:
    """The last used results by their key, up to a limit, for all threads.

    In a child that was forked while another thread changed it, it is empty.

    Parameters
    ----------
    limit : float
        How much is kept: the sum of the sizes of all results.
    size_of : callable, default=None
        Returns the size of a result, such as its bytes. None counts results.
    """

    def __init__(self, limit, size_of=None):
        self._limit = limit
        self._size_of = size_of
        self._begin()
        self._lock = ForkSafeLock(restore=self._begin)
        _caches.append(self)

    def _begin(self):
        self._results = LRUCache(self._limit, self._size_of)

    def __len__(self):
        with self._lock:
            return len(self._results)

    @property
    def size(self):
        """Sum of the sizes of all results that are kept."""
        with self._lock:
            return self._results.currsize

    def get(self, key):
        """Return the result of a key, which all who ask share; None without one."""
        with self._lock:
            return self._results.get(key)

    def put(self, key, result):
        """Keep a result, which is not None, unless it alone exceeds the limit."""
        with self._lock:
            if self._results.getsizeof(result) <= self._limit:
                self._results[key] = result

    def clear(self):
        """Forget all results."""
        with self._lock:
            self._results.clear()


def clear_caches():
    """Forget all that this process keeps, and free its memory.

    That is the loaded backbones, the embeddings of prompts (512 MB at most) and the
    trained networks (256 MB at most). What is needed again is loaded or computed again;
    what `memory` keeps on disk and fitted estimators stay as they are.

    Examples
    --------
    >>> import skclipad
    >>> skclipad.clear_caches()
    """
    for cache in _caches:
        cache.clear()
