"""Words to a trained network: each setting once in a process, threads included."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch

from skclipad import RandomWordCLIPDetector
from skclipad._method import training as _training
from skclipad._method.network import train_network
from skclipad._method.prompt_embeddings import TextEncoder
from skclipad._method.training import (
    TrainingPrompts,
    TrainingSettings,
    train_once,
)
from skclipad._storage.process_cache import ProcessCache, clear_caches
from skclipad._storage.store import EmbeddingStore, open_store

SETTINGS = replace(
    TrainingSettings.of(RandomWordCLIPDetector(), seed=0),
    **{"l_min": 2, "l_max": 5, "N_p": 100, "anomaly_word": "a bad"},
    hidden_layer_sizes=(4,),
    dropout=0.1,
    n_epochs=1,
    batch_size=100,
    learning_rate=1e-2,
)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def counted(monkeypatch):
    """Begin with empty caches, and count the trainings."""
    seeds = []

    def spy(*args, **kwargs):
        seeds.append(args[2].seed)
        return train_network(*args, **kwargs)

    clear_caches()
    monkeypatch.setattr(_training, "train_network", spy)
    yield seeds
    clear_caches()


def encode(texts):
    return np.array([[len(t), ord(t[0]), ord(t[-1])] for t in texts], np.float32)


def train(encode=encode, name="clip", device=CPU, memory=None, **changes):
    texts = TextEncoder(encode, name, device, open_store(memory))
    return train_once(TrainingPrompts(texts, replace(SETTINGS, **changes)))


def test_a_setting_is_trained_once(counted):
    assert train() is train()
    assert len(counted) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 1},
        {"N_p": 99},
        {"normalize": False},
        {"normal_word": "the"},
        {"anomaly_word": "a broken"},
        {"l_min": 3},
        {"l_max": 6},
        {"hidden_layer_sizes": (5,)},
        {"dropout": 0.2},
        {"n_epochs": 2},
        {"batch_size": 50},
        {"learning_rate": 1e-3},
        {"weight_decay": 1e-3},
        {"input_noise": 0.5},
        {"n_networks": 2},
        {"lr_decay": 0.2, "n_epochs": 2},
        {"name": "another clip"},
        {"device": torch.device("cpu:0")},  # another device of the same kind
    ],
    ids=str,
)
def test_whatever_else_is_set_is_another_network(other, counted):
    first, second = train(), train(**other)
    assert len(counted) == 2
    if not {"name", "device"} & set(other):  # may give the same weights
        same = [
            a.shape == b.shape and np.array_equal(a, b)
            for a, b in zip(first.coefs, second.coefs, strict=True)
        ]
        assert not all(same)
    assert train() is first
    assert train(**other) is second


def test_threads_that_ask_for_the_same_wait_for_one_training(counted):
    begun, go_on = threading.Event(), threading.Event()
    n_calls = []

    def slow(texts):
        n_calls.append(1)
        begun.set()
        assert go_on.wait(60)
        return encode(texts)

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(train, slow) for _ in range(4)]
        assert begun.wait(60)
        go_on.set()
        networks = [future.result(60) for future in futures]
    assert len(counted) == len(n_calls) == 1
    assert all(network is networks[0] for network in networks)


def test_a_known_network_is_given_while_another_is_trained(counted):
    known = train()
    begun, go_on = threading.Event(), threading.Event()

    def slow(texts):
        begun.set()
        assert go_on.wait(60)
        return encode(texts)

    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(train, slow, seed=1)
        assert begun.wait(60)
        assert train() is known
        assert not other.done()
        go_on.set()
        other.result(60)


def test_after_a_failure_the_next_one_trains(counted):
    def broken(texts):
        raise ValueError("no text tower")

    with pytest.raises(ValueError, match="no text tower"):
        train(broken)
    train()
    assert len(counted) == 1


def test_the_last_networks_are_kept_up_to_a_number_of_bytes(counted, monkeypatch):
    size = train(N_p=1).nbytes
    kept = ProcessCache(5 * size, size_of=lambda network: network.nbytes)
    monkeypatch.setattr(_training, "_fits", kept)
    counted.clear()
    for seed in range(8):
        train(seed=seed, N_p=1)
    assert (len(kept), kept.size) == (5, 5 * size)
    train(seed=7, N_p=1)
    train(seed=0, N_p=1)
    assert counted == [*range(8), 0]


def test_a_network_too_large_to_be_kept_is_given_all_the_same(counted, monkeypatch):
    kept = ProcessCache(100, size_of=lambda network: network.nbytes)
    monkeypatch.setattr(_training, "_fits", kept)
    assert train().coefs[0].shape == (3, 4)
    assert len(kept) == 0


def test_many_networks_are_kept_in_the_room_of_their_own_weights(counted):
    wide = {"hidden_layer_sizes": (64, 64)}
    one, many = (train(N_p=1, n_networks=n_networks, **wide) for n_networks in (1, 8))
    assert many.nbytes < 8.1 * one.nbytes
    assert sum(coef.nbytes for coef in many.coefs) > 30 * one.nbytes


def test_nothing_is_kept_of_texts_without_a_name(counted, tmp_path):
    encoded = []

    def spy(texts):
        encoded.append(len(texts))
        return encode(texts)

    for _ in range(2):
        train(spy, name=None, memory=tmp_path)
    assert len(counted) == 2
    assert len(encoded) == 2
    assert len(_training._fits) == 0
    with EmbeddingStore(tmp_path) as store:
        assert len(store) == 0


def test_memory_serves_the_next_process(counted, tmp_path):
    first = train(memory=tmp_path)
    clear_caches()
    again = train(None, memory=tmp_path)
    assert len(counted) == 2
    for a, b in zip(first.coefs, again.coefs, strict=True):
        assert np.array_equal(a, b)
