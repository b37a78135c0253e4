"""The network: the paper's training, bit for bit the same again, kept as numpy."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from skclipad import RandomWordCLIPDetector
from skclipad._method import network as _network
from skclipad._method.network import (
    AdamW,
    average_networks,
    build_network,
    fold_batch_norm,
    network_layers,
    train_network,
)
from skclipad._method.training import TrainingSettings

SETTINGS = replace(
    TrainingSettings.of(RandomWordCLIPDetector(), seed=0),
    hidden_layer_sizes=(16, 8, 4),
    dropout=0.25,
    batch_size=20,
    learning_rate=1e-2,
)


def train(normal, anomalous, **changes):
    return train_network(normal, anomalous, replace(SETTINGS, **changes))


@pytest.fixture
def pairs():
    """Texts of two classes that lie on two sides of the first axis."""
    normal, anomalous = np.random.default_rng(0).standard_normal(
        (2, 205, 6), dtype=np.float32
    )
    normal[:, 0] -= 3
    anomalous[:, 0] += 3
    return normal, anomalous


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_training_tells_the_classes_apart(pairs):
    trained = train(*pairs, **{"n_epochs": 10, "lr_decay": 0.8})
    logits = [network_layers(X, trained.coefs, trained.intercepts)[-1] for X in pairs]
    assert (logits[0] < 0).mean() > 0.99
    assert (logits[1] > 0).mean() > 0.99
    assert np.mean(trained.loss_curve[-21:]) < 0.5 * np.mean(trained.loss_curve[:5])


def test_loss_is_kept_for_every_step(pairs):
    losses = train(*pairs).loss_curve
    assert len(losses) == 2 * 21  # 205 pairs in batches of 10
    assert all(isinstance(loss, float) for loss in losses)
    assert losses[0] == pytest.approx(np.log(2), abs=0.3)


def test_arrays_have_the_widths_asked_for(pairs):
    trained = train(*pairs)
    shapes = [coef.shape for coef in trained.coefs]
    assert shapes == [(6, 16), (16, 8), (8, 4), (4, 1)]
    assert [b.shape for b in trained.intercepts] == [(16,), (8,), (4,), (1,)]
    for array in [*trained.coefs, *trained.intercepts]:
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert array.flags.owndata


@pytest.mark.parametrize("sizes", [(16, 8, 4), (5,), ()])
def test_numpy_computes_what_torch_computes(sizes, pairs):
    network = build_network(6, sizes, 0.5, generator())
    network.train()
    X = torch.from_numpy(np.concatenate(pairs))
    for _ in range(20):  # running means and variances that are no 0 and 1
        network(X * 2 + 1)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator(1))
        expected = network.eval()(X).numpy()
    layers = network_layers(X.numpy(), *fold_batch_norm(network))
    np.testing.assert_allclose(layers[-1], expected, rtol=1e-5, atol=1e-5)
    assert [layer.shape[1] for layer in layers] == [*sizes, 1]
    assert all((layer >= 0).all() for layer in layers[:-1])


def spy_on_batches(monkeypatch):
    batches = []

    class Spy(nn.Sequential):
        def forward(self, x):
            batches.append(x.clone())
            return super().forward(x)

    monkeypatch.setattr(nn, "Sequential", Spy)
    return batches


def test_both_texts_of_a_pair_are_in_one_batch(monkeypatch):
    batches = spy_on_batches(monkeypatch)
    normal = np.arange(1, 206, dtype=np.float32)[:, None]
    train(normal, -normal)
    epochs = batches[:21], batches[21:]
    orders = []
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [20] * 20 + [10]
        for batch in epoch:
            values = batch[:, 0].tolist()
            assert sorted(values) == sorted(-value for value in values)
        orders.append(torch.cat(epoch)[:, 0].tolist())
        assert sorted(map(abs, orders[-1])) == sorted([*range(1, 206)] * 2)
    assert orders[0] != orders[1]
    assert orders[0] != sorted(orders[0])


@pytest.mark.parametrize("batch_size", [2, 3, 1000])
def test_any_batch_size_trains(pairs, batch_size, monkeypatch):
    batches = spy_on_batches(monkeypatch)
    train(*pairs, **{"batch_size": batch_size})
    assert len(batches[0]) == min(batch_size // 2 * 2, 410)


def test_one_pair_trains():
    normal = np.ones((1, 3), dtype=np.float32)
    trained = train(normal, -normal)
    assert np.isfinite(trained.loss_curve).all()


def test_learning_rate_decays_after_each_epoch(pairs, monkeypatch):
    rates = []
    step = AdamW.step

    def spy(self, learning_rate):
        rates.append(learning_rate)
        step(self, learning_rate)

    monkeypatch.setattr(AdamW, "step", spy)
    train(*pairs, **{"n_epochs": 3, "lr_decay": 0.5})
    assert rates == [1e-2] * 21 + [5e-3] * 21 + [2.5e-3] * 21


def test_steps_are_those_of_torch():
    def made():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 1))

    ours, theirs = made(), made()
    optimizers = (
        AdamW(ours.parameters(), 0.1),
        torch.optim.AdamW(theirs.parameters(), lr=0, weight_decay=0.1),
    )
    for i in range(30):
        x = torch.randn(7, 5, generator=generator(i))
        rate = 0.1 / (i + 1)
        ours(x).square().sum().backward()
        optimizers[0].step(rate)
        optimizers[1].param_groups[0]["lr"] = rate
        optimizers[1].zero_grad()
        theirs(x).square().sum().backward()
        optimizers[1].step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)


def test_first_weights_are_spread_as_torch_spreads_them():
    layer = build_network(100, (200,), 0.0, generator())[0]
    for parameter in (layer.weight, layer.bias):
        assert parameter.abs().max() < 0.1001
    assert layer.weight.std().item() == pytest.approx(0.1 / np.sqrt(3), rel=0.05)
    assert layer.weight.abs().max() > 0.099


def test_dropout_drops_its_share_and_keeps_the_mean():
    dropout = _network._Dropout(0.3, generator())
    x = torch.ones(300, 300)
    dropped = dropout(x)
    assert (dropped == 0).float().mean() == pytest.approx(0.3, abs=0.01)
    assert dropped.max() == pytest.approx(1 / 0.7)
    assert dropped.mean() == pytest.approx(1, abs=0.02)
    assert torch.equal(dropout.eval()(x), x)


def test_without_dropout_nothing_is_drawn(pairs):
    drawn = generator()
    before = drawn.get_state()
    assert torch.equal(_network._Dropout(0, drawn)(torch.ones(3)), torch.ones(3))
    assert torch.equal(drawn.get_state(), before)


def arrays(trained):
    return [*trained.coefs, *trained.intercepts, np.array(trained.loss_curve)]


def test_same_seed_same_bits(pairs):
    first, second = (train(*pairs) for _ in range(2))
    for a, b in zip(arrays(first), arrays(second), strict=True):
        assert np.array_equal(a, b)


def test_another_seed_is_another_network(pairs):
    first = train(*pairs)
    other = train(*pairs, **{"seed": 1})
    assert not np.array_equal(first.coefs[0], other.coefs[0])


def test_global_generators_are_neither_read_nor_moved(pairs):
    torch.manual_seed(1)
    np.random.seed(1)
    before = torch.get_rng_state(), np.random.get_state()[1]
    first = train(*pairs)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    torch.manual_seed(2)
    np.random.seed(2)
    for a, b in zip(arrays(first), arrays(train(*pairs)), strict=True):
        assert np.array_equal(a, b)


def test_embeddings_are_left_as_they_are(pairs):
    before = [X.copy() for X in pairs]
    for X in pairs:
        X.setflags(write=False)
    train(*pairs)
    assert all(np.array_equal(X, copy) for X, copy in zip(pairs, before, strict=True))


def test_every_step_counts(pairs):
    trained = train(*pairs)
    assert trained.n_iter == len(trained.loss_curve) == 42


@pytest.mark.parametrize("sizes", [(16, 8, 4), (5,), ()])
def test_several_networks_are_one_whose_logit_is_their_mean(sizes, pairs):
    folded = []
    for seed in range(3):
        network = build_network(6, sizes, 0.5, generator(seed)).train()
        network(torch.from_numpy(pairs[0]))
        folded.append(fold_batch_norm(network))
    expected = np.mean([network_layers(pairs[1], *one)[-1] for one in folded], axis=0)
    coefs, intercepts = average_networks(folded)
    layers = network_layers(pairs[1], coefs, intercepts)
    np.testing.assert_allclose(layers[-1], expected, rtol=1e-4, atol=1e-6)
    assert [coef.shape[1] for coef in coefs] == [*(3 * size for size in sizes), 1]
    assert {array.dtype for array in [*coefs, *intercepts]} == {np.dtype(np.float32)}


def test_the_first_of_several_networks_is_the_only_one(pairs):
    one = train(*pairs)
    three = train(*pairs, n_networks=3)
    assert np.array_equal(three.coefs[0][:, :16], one.coefs[0])
    assert not np.array_equal(three.coefs[0][:, 16:32], one.coefs[0])
    assert not np.array_equal(three.coefs[0][:, 16:32], three.coefs[0][:, 32:])
    assert len(three.loss_curve) == len(one.loss_curve)
    again = train(*pairs, n_networks=3)
    for a, b in zip(arrays(three), arrays(again), strict=True):
        assert np.array_equal(a, b)


def test_noise_is_as_long_as_asked_and_points_anywhere():
    X = torch.arange(1.0, 41.0)[:, None] * torch.ones(40, 50)
    noise = _network._with_noise(X, 0.5, generator()) - X
    torch.testing.assert_close(noise.norm(dim=1), 0.5 * X.norm(dim=1))
    cosines = torch.nn.functional.cosine_similarity(noise, X)
    assert cosines.abs().max() < 0.6
    assert cosines.min() < 0 < cosines.max()


def test_noise_is_drawn_afresh_for_every_batch(monkeypatch):
    batches = spy_on_batches(monkeypatch)
    normal = np.arange(1, 11, dtype=np.float32)[:, None] * np.ones(6, np.float32)
    few = normal, -normal
    trained = train(*few, input_noise=0.01)
    first, second = (batch[batch[:, 0].argsort()] for batch in batches)
    plain = torch.from_numpy(np.concatenate([-normal[::-1], normal]))
    for difference in (first - plain, second - plain, first - second):
        assert 0.005 < difference.norm() / plain.norm() < 0.02
    again = train(*few, input_noise=0.01)
    for a, b in zip(arrays(trained), arrays(again), strict=True):
        assert np.array_equal(a, b)


def test_noise_keeps_the_network_from_single_features():
    rng = np.random.default_rng(2)
    normal, anomalous = rng.standard_normal((2, 600, 20), dtype=np.float32)
    # One coordinate tells the classes apart without error, ten others nearly so.
    for X, side in ((normal, -1), (anomalous, 1)):
        X[:, 0] = 0.3 * side
        X[:, 1:11] += side
    weights = []
    for noise in (0.0, 1.0):
        trained = train(
            normal,
            anomalous,
            **{"hidden_layer_sizes": (), "n_epochs": 40, "lr_decay": 1.0},
            input_noise=noise,
        )
        weights.append(np.abs(trained.coefs[0][:, 0]))
    shares = [w[0] / w[1:11].mean() for w in weights]
    assert shares[1] < 0.7 * shares[0]


@pytest.mark.parametrize("name", ["learning_rate", "weight_decay", "input_noise"])
def test_training_that_diverges_is_refused(pairs, name):
    with pytest.raises(ValueError, match=rf"{name}=1e\+300.* diverged"):
        train(*pairs, **{name: 1e300})
