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


class _Linear(nn.Linear):
    """A linear layer whose first weights come from a generator of its own."""

    def __init__(self, n_in, n_out, generator):
        super().__init__(n_in, n_out, device=generator.device)
        bound = 1 / math.sqrt(n_in)  # as torch draws them
        with torch.no_grad():
            self.weight.uniform_(-bound, bound, generator=generator)
            self.bias.uniform_(-bound, bound, generator=generator)

    def reset_parameters(self):
        """Leave the global generator alone."""


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
        return x * kept.div_(1 - self.p)


class AdamW:
    """AdamW [1]_ over all parameters at once, as ``torch.optim.AdamW`` computes it.

    Parameters and gradients become views of one tensor each, so that a step is a
    handful of operations however many parameters there are. Importing torch's own
    takes longer than all the steps of a training.

    Parameters
    ----------
    parameters : iterable of torch.nn.Parameter
        What to train. Their gradients are set to 0.
    weight_decay : float
        Decoupled weight decay.

    References
    ----------
    .. [1] I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization",
       ICLR 2019. With its constants: 0.9, 0.999 and 1e-8.
    """

    beta_mean, beta_square, eps = 0.9, 0.999, 1e-8

    def __init__(self, parameters, weight_decay):
        parameters = list(parameters)
        self.weight_decay = weight_decay
        self.n_steps = 0
        self.values = torch.cat([p.detach().flatten() for p in parameters])
        self.gradient, self.mean, self.square = torch.zeros(
            3, len(self.values), device=self.values.device
        )
        sizes = [p.numel() for p in parameters]
        views = zip(self.values.split(sizes), self.gradient.split(sizes), strict=True)
        for p, (values, gradient) in zip(parameters, views, strict=True):
            p.data, p.grad = values.view_as(p), gradient.view_as(p)

    def step(self, learning_rate):
        """Move the parameters along their gradients, and set these back to 0.

        Parameters
        ----------
        learning_rate : float
            Learning rate of this step.
        """
        self.n_steps += 1
        self.values.mul_(1 - learning_rate * self.weight_decay)
        self.mean.lerp_(self.gradient, 1 - self.beta_mean)
        self.square.lerp_(self.gradient.square(), 1 - self.beta_square)
        unbiased = self.square / (1 - self.beta_square**self.n_steps)
        size = learning_rate / (1 - self.beta_mean**self.n_steps)
        self.values.addcdiv_(self.mean, unbiased.sqrt_().add_(self.eps), value=-size)
        self.gradient.zero_()


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
            _Linear(n_in, n_out, generator),
            nn.BatchNorm1d(n_out, device=device),
            nn.ReLU(),
            _Dropout(dropout, generator),
        ]
    return nn.Sequential(*layers, _Linear(sizes[-1], 1, generator))


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
    optimizer = AdamW(network.parameters(), weight_decay)
    classes = [torch.tensor(texts, device=device) for texts in (normal, anomalous)]
    pairs_per_batch = max(1, batch_size // 2)
    losses = []
    network.train()
    for epoch in range(n_epochs):
        order = torch.from_numpy(order_rng.permutation(len(normal))).to(device)
        for rows in order.split(pairs_per_batch):
            batch = torch.cat([texts[rows] for texts in classes])  # (2 * n, C_e)
            target = torch.arange(2, device=device).repeat_interleave(len(rows))
            loss = F.binary_cross_entropy_with_logits(
                network(batch)[:, 0], target.float()
            )
            loss.backward()
            optimizer.step(learning_rate * lr_decay**epoch)
            losses.append(loss.detach())
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
