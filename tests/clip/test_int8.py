"""Layers in 8 bits: rounded token by token, summed exactly."""

import pytest
import torch
from torch import nn

from skclipad._clip.int8 import Int8Linear, rounded

pytestmark = pytest.mark.usefixtures("int8_products")

WIDTH, OUT = 48, 20


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def layer():
    return Int8Linear(random(OUT, WIDTH), random(OUT, seed=1))


def test_numbers_that_fit_8_bits_are_computed_exactly():
    weight = torch.randint(-127, 128, (OUT, WIDTH)).float()
    x = torch.randint(-127, 128, (5, WIDTH)).float()
    weight[:, 0], x[:, 1] = 127, -127  # the largest of each row, so that scales are 1
    bias = torch.arange(OUT).float()
    assert torch.equal(Int8Linear(weight, bias)(x), x @ weight.T + bias)
    assert torch.equal(Int8Linear(weight, None)(x), x @ weight.T)


def test_a_layer_is_near_the_one_in_single_precision(layer):
    weight, x = random(OUT, WIDTH), random(7, WIDTH, seed=2)
    expected = nn.functional.linear(x, weight, random(OUT, seed=1))
    error = (layer(x) - expected).norm() / expected.norm()
    assert 0 < error < 0.02
    torch.testing.assert_close(layer.weight, weight, atol=0.02, rtol=0)
    assert (layer.in_features, layer.out_features) == (WIDTH, OUT)


def test_rounding_is_half_a_step_off_at_most():
    x = random(6, WIDTH)
    values, scale = rounded(x)
    assert values.dtype == torch.int8 and values.abs().amax(1).eq(127).all()
    assert ((values * scale - x).abs() <= scale / 2 * 1.0001).all()


def test_a_token_of_large_values_spoils_no_other(layer):
    x = random(6, WIDTH, seed=2)
    expected = layer(x)
    x[3] *= 1000
    x[3, 5] = 1e6
    found = layer(x)
    others = [0, 1, 2, 4, 5]
    assert torch.equal(found[others], expected[others])


def test_a_token_alone_gets_what_it_gets_among_others(layer):
    x = random(200, WIDTH, seed=2)
    alone = torch.cat([layer(x[i : i + 1]) for i in range(len(x))])
    assert torch.equal(alone, layer(x))


def test_any_leading_dimensions_some_outputs_and_given_memory(layer):
    x = random(3, 4, WIDTH, seed=2)
    expected = layer(x.flatten(0, 1))
    assert torch.equal(layer(x), expected.view(3, 4, OUT))
    assert torch.equal(layer(x[0, 0]), expected[0])
    assert torch.equal(layer(x, slice(5, 9)), expected.view(3, 4, OUT)[..., 5:9])
    memory = torch.full((1000,), 7.0)
    found = layer(x, memory=memory)
    assert torch.equal(found, expected.view(3, 4, OUT))
    assert found.data_ptr() == memory.data_ptr()
    assert (memory[12 * OUT :] == 7).all()


def test_tokens_of_zeros_and_without_value(layer):
    x = torch.zeros(3, WIDTH)
    assert torch.equal(layer(x), layer.bias.expand(3, -1))
    x[1, 4] = torch.nan
    found = layer(x)
    assert found[1].isnan().all()
    assert torch.equal(found[[0, 2]], layer.bias.expand(2, -1))


def test_tiny_numbers_do_not_overflow(layer):
    x = torch.full((2, WIDTH), 1e-40)
    assert layer(x).isfinite().all()
