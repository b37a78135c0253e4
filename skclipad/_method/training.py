"""Words to a trained network, each setting once in a process (Sec. 3.2 and 3.3)."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from numbers import Integral

from skclipad._method.network import train_network
from skclipad._method.progress import nobody
from skclipad._method.prompt_embeddings import TextEncoder, encode_pairs
from skclipad._method.scores import unit
from skclipad._storage.forks import ForkSafeLock
from skclipad._storage.process_cache import ProcessCache
from skclipad._storage.store import store_key

KEPT_BYTES = 256 * 2**20
WORDS = ("l_min", "l_max", "normal_word", "anomaly_word")
_fits = ProcessCache(KEPT_BYTES, size_of=lambda network: network.nbytes)
# One training at a time on a device: it uses all of it, and the next may be the same.
_training = defaultdict(ForkSafeLock)
_choosing = ForkSafeLock()


@dataclass(frozen=True)
class TrainingSettings:
    """All that determines the network of a detector, beside its CLIP.

    The attributes are parameters of `RandomWordCLIPDetector`, but for `seed`, the one
    of words, initial weights, batches and dropout.
    """

    l_min: int
    l_max: int
    N_p: int
    normal_word: str
    anomaly_word: str
    hidden_layer_sizes: tuple
    dropout: float
    n_epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    lr_decay: float
    input_noise: float
    n_networks: int
    normalize: bool
    seed: int

    @classmethod
    def of(cls, detector, seed):
        """Take the settings of a detector; `check` says whether they can be used."""
        names = [field.name for field in fields(cls) if field.name != "seed"]
        values = {name: getattr(detector, name) for name in names}
        values["hidden_layer_sizes"] = tuple(values["hidden_layer_sizes"])
        values["normalize"] = bool(values["normalize"])
        return cls(**values, seed=seed)

    @property
    def words(self):
        """How prompts are written: parameters of `training_block`."""
        return {name: getattr(self, name) for name in WORDS}

    def check(self):
        """Refuse what cannot be trained, before anything is computed.

        Raises
        ------
        ValueError
            If the shortest word is longer than the longest, a word is blank, or a width
            is no positive integer.
        """
        if self.l_min > self.l_max:
            raise ValueError(
                f"Got l_min={self.l_min} and l_max={self.l_max} but expected l_min <= "
                "l_max: the shortest and the longest random word."
            )
        check_word("normal_word", self.normal_word, "a")
        check_word("anomaly_word", self.anomaly_word, "a damaged")
        for size in self.hidden_layer_sizes:
            if not isinstance(size, Integral) or size < 1:
                raise ValueError(
                    f"Got hidden_layer_sizes={self.hidden_layer_sizes!r} but expected "
                    "positive integers, such as (128, 32, 16)."
                )


def check_word(name, word, example):
    """Refuse a blank word of state or name of an object."""
    if not word.strip():
        raise ValueError(
            f"Got {name}={word!r} but expected words, such as {example!r}."
        )


@dataclass(frozen=True)
class TrainingPrompts:
    """The prompts that a network is trained on, written and embedded when asked for.

    Attributes
    ----------
    texts : TextEncoder
        The text tower.
    settings : TrainingSettings
        Its words, number of pairs and seed.
    tell : callable
        Hears how far embedding and training are: see `nobody`.
    """

    texts: TextEncoder
    settings: TrainingSettings
    tell: Callable = nobody

    def embed(self):
        """Return the embeddings of the normal and of the anomalous prompts.

        Returns
        -------
        normal, anomalous : ndarray of shape (N_p, C_e), dtype float32
            Of unit length if the settings say so; row ``i`` of both is a pair.

        Raises
        ------
        PromptTooLongError
            If a prompt does not fit the context of the text tower.
        """
        settings = self.settings
        how = {"seed": settings.seed, "tell": self.tell, **settings.words}
        pairs = encode_pairs(self.texts, settings.N_p, **how)
        return tuple(map(unit, pairs)) if settings.normalize else pairs


def train_once(prompts):
    """Train the network, or return the one that the same setting gave before.

    Images have no part in it, so that in a grid search all folds of a setting share
    one training. The last ones are kept, 256 MB of them, for the whole process.

    Parameters
    ----------
    prompts : TrainingPrompts
        What it is trained on.

    Returns
    -------
    TrainedNetwork
        The network as numpy arrays, shared by all who ask: do not write to it.
    """
    texts, settings = prompts.texts, prompts.settings
    # Names with values: equal values of different parameters are different settings.
    key = store_key(texts.name, str(texts.device), *sorted(asdict(settings).items()))
    known = _fits.get(key)
    if known is not None:
        return known

    with _choosing:
        training = _training[str(texts.device)]
    with training:
        network = _fits.get(key)
        if network is None:
            network = train(prompts)
            if texts.name is not None:
                _fits.put(key, network)
        return network


def train(prompts):
    """Train the network on the prompts (Sec. 3.3)."""
    normal, anomalous = prompts.embed()
    how = {"device": prompts.texts.device, "tell": prompts.tell}
    return train_network(normal, anomalous, prompts.settings, **how)
