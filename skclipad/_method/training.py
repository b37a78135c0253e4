"""Words to a trained network, each setting once in a process."""

from collections import defaultdict
from numbers import Integral

from skclipad._method.network import train_network
from skclipad._method.prompt_embeddings import encode_pairs
from skclipad._method.scores import unit
from skclipad._storage.forks import ForkSafeLock
from skclipad._storage.process_cache import ProcessCache
from skclipad._storage.store import open_store, store_key

KEPT_BYTES = 256 * 2**20
_fits = ProcessCache(KEPT_BYTES, size_of=lambda network: network.nbytes)
# One training at a time on a device: it uses all of it, and the next may be the same.
_turns = defaultdict(ForkSafeLock)
_choosing = ForkSafeLock()


def train_once(
    encode,
    cache_name,
    device,
    *,
    n_pairs,
    words,
    training,
    normalize,
    seed,
    memory=None,
):
    """Train the network, or return the one that the same setting gave before.

    Images have no part in it, so that in a grid search all folds of a setting share
    one training. The last ones are kept, 256 MB of them, for the whole process.

    Parameters
    ----------
    encode : callable
        Turns a list of texts into an ndarray of shape (n_texts, C_e).
    cache_name : str or None
        Names what `encode` computes with. None keeps neither network nor embeddings.
    device : torch.device
        Where the network is trained.
    n_pairs : int
        Number of prompt pairs, ``N_p``.
    words : dict
        Parameters of `training_block` but the block and the seed.
    training : dict
        Parameters of `train_network` but the seed and the device.
    normalize : bool
        Whether the network sees embeddings of unit length.
    seed : int
        Seed of the words, initial weights, batches and dropout.
    memory : str, path, joblib.Memory or None, default=None
        Folder where embeddings of texts are kept between runs.

    Returns
    -------
    TrainedNetwork
        The network as numpy arrays, shared by all who ask: do not write to it.

    Raises
    ------
    PromptTooLongError
        If a prompt does not fit the context of the text tower.
    """
    # Names with values: equal values of different parameters are different settings.
    key = store_key(
        cache_name,
        str(device),
        n_pairs,
        normalize,
        seed,
        *sorted(words.items()),
        *sorted(training.items()),
    )
    known = _fits.get(key)
    if known is not None:
        return known

    with _choosing:
        turn = _turns[str(device)]
    with turn:
        network = _fits.get(key)
        if network is None:
            pairs = encode_pairs(
                encode,
                cache_name,
                n_pairs,
                seed=seed,
                store=open_store(memory),
                **words,
            )
            if normalize:
                pairs = map(unit, pairs)
            network = train_network(*pairs, seed=seed, device=device, **training)
            if cache_name is not None:
                _fits.put(key, network)
        return network


def check_setting(l_min, l_max, hidden_layer_sizes, **words):
    """Refuse what cannot be trained, before anything is computed.

    Parameters
    ----------
    l_min, l_max : int
        Shortest and longest random word.
    hidden_layer_sizes : sequence of int
        Widths of the hidden layers.
    **words : dict of str
        Words that must not be blank, by the name of their parameter.

    Raises
    ------
    ValueError
        If the shortest word is longer than the longest, words are blank, or a width
        is no positive integer.
    """
    if l_min > l_max:
        raise ValueError(
            f"Got l_min={l_min} and l_max={l_max} but expected l_min <= l_max: the "
            "shortest and the longest random word."
        )
    for name, word in words.items():
        if not word.strip():
            raise ValueError(
                f"Got {name}={word!r} but expected words, such as 'a damaged'."
            )
    for size in hidden_layer_sizes:
        if not isinstance(size, Integral) or size < 1:
            raise ValueError(
                f"Got hidden_layer_sizes={hidden_layer_sizes!r} but expected positive "
                "integers, such as (128, 32, 16)."
            )
