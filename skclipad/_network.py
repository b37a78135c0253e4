"""The feed-forward network: torch trains it, numpy keeps and runs it."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


@dataclass
class TrainedNetwork:
    """A trained network with its batch norms folded into the linear layers.

    Attributes
    ----------
    coefs : list of ndarray of shape (n_in, n_out)
        Weights of the linear layers.
    intercepts : list of ndarray of shape (n_out,)
        Their biases.
    loss_curve : list of float
        Training loss of every step.
    """

    coefs: list
    intercepts: list
    loss_curve: list = field(default_factory=list)


class _Dropout(nn.Module):
    """Dropout that draws from a generator of its own."""

    def __init__(self, p, generator):
        super().__init__()
        self.p = p
        self.generator = generator

    def forward(self, x):
        if not self.training or self.p == 0:
            return x
        kept = torch.empty_like(x).bernoulli_(1 - self.p, generator=self.generator)
        return x * kept / (1 - self.p)


def build_network(n_features, hidden_layer_sizes, dropout, generator):
    """Build an untrained network (Sec. 4.2).

    Parameters
    ----------
    n_features : int
        Width ``C_e`` of the embeddings.
    hidden_layer_sizes : sequence of int
        Widths of the hidden layers; the paper's network has three, which makes four
        linear layers.
    dropout : float
        Share of units dropped after each hidden layer.
    generator : torch.Generator
        Source of initial weights and dropout.

    Returns
    -------
    torch.nn.Sequential
        Linear, batch norm, ReLU, dropout for each hidden layer; then one linear unit.
    """
    device = generator.device
    sizes = [n_features, *hidden_layer_sizes]
    layers = []
    for n_in, n_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [
            _linear(n_in, n_out, generator),
            nn.BatchNorm1d(n_out, device=device),
            nn.ReLU(),
            _Dropout(dropout, generator),
        ]
    return nn.Sequential(*layers, _linear(sizes[-1], 1, generator))


def _linear(n_in, n_out, generator):
    # torch's own initialisation, but not from the global generator.
    layer = nn.utils.skip_init(nn.Linear, n_in, n_out, device=generator.device)
    bound = 1 / math.sqrt(n_in)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.uniform_(-bound, bound, generator=generator)
    return layer


def train_network(
    normal,
    anomalous,
    *,
    hidden_layer_sizes,
    dropout,
    n_epochs,
    batch_size,
    learning_rate,
    weight_decay,
    lr_decay,
    seed,
    device="cpu",
):
    """Train the network on pairs of text embeddings (Sec. 3.3 and 4.2).

    Binary cross-entropy with normal as 0 and anomalous as 1, AdamW, the learning rate
    multiplied by `lr_decay` after each epoch; both texts of a pair are always in one
    batch.

    Parameters
    ----------
    normal, anomalous : ndarray of shape (n_pairs, C_e), dtype float32
        Embeddings; row ``i`` of both is a pair.
    hidden_layer_sizes : sequence of int
        Widths of the hidden layers.
    dropout : float
        Share of units dropped after each hidden layer.
    n_epochs : int
        Passes over all pairs.
    batch_size : int
        Texts in a batch, two to a pair.
    learning_rate : float
        Learning rate of the first epoch.
    weight_decay : float
        Decoupled weight decay.
    lr_decay : float
        Factor on the learning rate after each epoch.
    seed : int
        Seed of initial weights, order of pairs and dropout.
    device : str or torch.device, default="cpu"
        Where to train.

    Returns
    -------
    TrainedNetwork
        The network as numpy arrays.
    """
    generator = torch.Generator(device).manual_seed(seed)
    order_rng = np.random.default_rng(seed)
    network = build_network(normal.shape[1], hidden_layer_sizes, dropout, generator)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=learning_rate, weight_decay=weight_decay
    )
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=lr_decay)
    pairs = torch.from_numpy(np.stack([normal, anomalous], axis=1)).to(device)
    pairs_per_batch = max(1, batch_size // 2)
    losses = []
    network.train()
    for _ in range(n_epochs):
        order = torch.from_numpy(order_rng.permutation(len(pairs))).to(device)
        for rows in order.split(pairs_per_batch):
            batch = pairs[rows].flatten(0, 1)  # (2 * n, C_e): normal, anomalous, ...
            target = torch.arange(len(batch), device=device) % 2
            loss = F.binary_cross_entropy_with_logits(
                network(batch)[:, 0], target.float()
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
        schedule.step()
    coefs, intercepts = fold_batch_norm(network)
    return TrainedNetwork(coefs, intercepts, torch.stack(losses).tolist())


def fold_batch_norm(network):
    """Fold each batch norm into the linear layer before it.

    Parameters
    ----------
    network : torch.nn.Sequential
        As `build_network` makes it.

    Returns
    -------
    coefs : list of ndarray of shape (n_in, n_out)
        Weights that do what linear layer and batch norm did in eval mode.
    intercepts : list of ndarray of shape (n_out,)
        Biases likewise.
    """
    coefs, intercepts = [], []
    for layer in network:
        if isinstance(layer, nn.Linear):
            coefs.append(layer.weight.detach().cpu().numpy().T.copy())
            intercepts.append(layer.bias.detach().cpu().numpy().copy())
        elif isinstance(layer, nn.BatchNorm1d):
            mean, var, gamma, beta = (
                tensor.detach().cpu().numpy()
                for tensor in (
                    layer.running_mean,
                    layer.running_var,
                    layer.weight,
                    layer.bias,
                )
            )
            scale = gamma / np.sqrt(var + layer.eps)
            coefs[-1] *= scale
            intercepts[-1] = (intercepts[-1] - mean) * scale + beta
    return coefs, intercepts


def network_layers(X, coefs, intercepts):
    """Run the network and keep what each layer puts out.

    Parameters
    ----------
    X : ndarray of shape (n_samples, C_e)
        Embeddings.
    coefs, intercepts : list of ndarray
        As in `TrainedNetwork`.

    Returns
    -------
    list of ndarray of shape (n_samples, n_out)
        Outputs of the hidden layers after ReLU, then the logits, of width 1.
    """
    outputs = []
    for i, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True)):
        X = X @ coef + intercept
        if i < len(coefs) - 1:
            X = np.maximum(X, 0)
        outputs.append(X)
    return outputs
