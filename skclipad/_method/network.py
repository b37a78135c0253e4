"""The feed-forward network: torch trains it, numpy keeps and runs it."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from scipy.linalg import block_diag
from torch import nn
from torch.nn import functional as F

from skclipad._method.progress import nobody

N_CHECKED = 1000  # pairs on which a trained network must give numbers


@dataclass
class TrainedNetwork:
    """A trained network with its batch norms folded into the linear layers.

    `members` are coefs and intercepts of each network that is averaged. Side by side,
    as `coefs` has them, n networks take n times the room of these.
    """

    members: list
    loss_curve: list

    @property
    def coefs(self):
        """Weights of the linear layers: list of ndarray of shape (n_in, n_out)."""
        return average_networks(self.members)[0]

    @property
    def intercepts(self):
        """Their biases: list of ndarray of shape (n_out,)."""
        return average_networks(self.members)[1]

    @property
    def n_iter(self):
        """Number of training steps."""
        return len(self.loss_curve)

    @property
    def nbytes(self):
        """Size in bytes."""
        arrays = (a for member in self.members for part in member for a in part)
        return sum(array.nbytes for array in arrays) + 32 * len(self.loss_curve)


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
    """AdamW over all parameters at once, with torch's equations and constants.

    Parameters and gradients become views of one tensor each, so that a step is a
    handful of operations however many parameters there are.
    """

    # The first torch.optim.AdamW of a process imports the compiler, which takes longer
    # than a training. torch's function ``adamw`` does not, but rounds otherwise, which
    # 314 steps turn into a difference of 1e-3 in a score: detectors of a seed would
    # no longer be the same.
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
        """Move the parameters along their gradients, and set these back to 0."""
        self.n_steps += 1
        self.values.mul_(1 - learning_rate * self.weight_decay)
        self.mean.lerp_(self.gradient, 1 - self.beta_mean)
        self.square.lerp_(self.gradient.square(), 1 - self.beta_square)
        unbiased = self.square / (1 - self.beta_square**self.n_steps)
        # torch refuses larger numbers; what is left of the weights is refused later.
        largest = torch.finfo(torch.float32).max
        size = min(learning_rate / (1 - self.beta_mean**self.n_steps), largest)
        self.values.addcdiv_(self.mean, unbiased.sqrt_().add_(self.eps), value=-size)
        self.gradient.zero_()


def build_network(n_features, hidden_layer_sizes, dropout, generator):
    """Build an untrained network (Sec. 4.2) as a torch.nn.Sequential.

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


def train_network(normal, anomalous, settings, *, device="cpu", tell=nobody):
    """Train the network on pairs of text embeddings (Sec. 3.3 and 4.2).

    Binary cross-entropy with normal as 0 and anomalous as 1, AdamW, the learning rate
    multiplied by `lr_decay` after each epoch; both texts of a pair are always in one
    batch.

    Parameters
    ----------
    normal, anomalous : ndarray of shape (n_pairs, C_e), dtype float32
        Embeddings; row ``i`` of both is a pair.
    settings : TrainingSettings
        Hidden layers, dropout, epochs, batches, rates, noise, number of networks, and
        the seed of initial weights, order of pairs and dropout. Of several networks the
        first is that of the seed alone.
    device : str or torch.device, default="cpu"
        Where to train.
    tell : callable
        Hears of each epoch: see `nobody`.

    Returns
    -------
    TrainedNetwork
        The network as numpy arrays.

    Raises
    ------
    ValueError
        If the network's scores are no numbers in the end.
    """
    classes = [torch.tensor(texts, device=device) for texts in (normal, anomalous)]
    seed, n_others = settings.seed, settings.n_networks - 1
    others = np.random.default_rng(seed).integers(2**31, size=n_others)
    seeds = (seed, *others.tolist())
    with tell("train-network", settings.n_epochs * len(seeds)) as done:
        trained = [_train_one(*classes, settings, one, done) for one in seeds]

    members = [fold_batch_norm(network) for network, _ in trained]
    losses = torch.stack([loss for _, loss in trained]).mean(dim=0)

    with np.errstate(all="ignore"):
        checked = np.concatenate([normal[:N_CHECKED], anomalous[:N_CHECKED]])
        logits = network_layers(checked, *average_networks(members))[-1]
    if not np.isfinite(logits).all():
        raise ValueError(
            f"Got learning_rate={settings.learning_rate}, weight_decay="
            f"{settings.weight_decay} and input_noise={settings.input_noise}, with "
            "which training diverged: the network's scores are no numbers. Make the "
            "largest of them smaller."
        )
    return TrainedNetwork(members, loss_curve=losses.tolist())


def _train_one(normal, anomalous, settings, seed, done):
    """Train one network; return it with the losses of all steps, as a tensor."""
    device = normal.device
    generator = torch.Generator(device).manual_seed(seed)
    order_rng = np.random.default_rng(seed)
    widths = settings.hidden_layer_sizes
    network = build_network(normal.shape[1], widths, settings.dropout, generator)
    optimizer = AdamW(network.parameters(), settings.weight_decay)
    pairs_per_batch = max(1, settings.batch_size // 2)
    losses = []

    network.train()
    for epoch in range(settings.n_epochs):
        rate = settings.learning_rate * settings.lr_decay**epoch
        order = torch.from_numpy(order_rng.permutation(len(normal))).to(device)

        for rows in order.split(pairs_per_batch):
            batch = torch.cat([normal[rows], anomalous[rows]])  # (2 * n, C_e)
            if settings.input_noise > 0:
                batch = _with_noise(batch, settings.input_noise, generator)
            target = torch.arange(2, device=device).repeat_interleave(len(rows))
            loss = F.binary_cross_entropy_with_logits(
                network(batch)[:, 0], target.float()
            )

            loss.backward()
            optimizer.step(rate)
            losses.append(loss.detach())
        done(1)
    return network, torch.stack(losses)


def _with_noise(batch, length, generator):
    """Add to each row a vector in a random direction, `length` times as long."""
    noise = torch.empty_like(batch).normal_(generator=generator)
    scale = batch.norm(dim=1, keepdim=True) / noise.norm(dim=1, keepdim=True)
    return batch + length * scale * noise


def fold_batch_norm(network):
    """Return coefs and intercepts that do what linear layers and batch norms did.

    They are lists of ndarray of shape (n_in, n_out) and (n_out,), for eval mode.
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


def average_networks(networks):
    """Write several networks as one, whose logit is the mean of theirs.

    Each is a pair of coefs and intercepts, as `fold_batch_norm` gives them; so is the
    result, its hidden layers as wide as those of all networks side by side.
    """
    if len(networks) == 1:
        return networks[0]
    all_coefs, all_intercepts = zip(*networks, strict=True)
    coefs = [block_diag(*layer) for layer in zip(*all_coefs, strict=True)]
    intercepts = [np.concatenate(layer) for layer in zip(*all_intercepts, strict=True)]

    # All read the same input, and one output takes the mean of theirs.
    n_features = len(all_coefs[0][0])
    coefs[0] = coefs[0].reshape(len(networks), n_features, -1).sum(axis=0)
    coefs[-1] = coefs[-1].mean(axis=1, keepdims=True)
    intercepts[-1] = intercepts[-1].mean(keepdims=True)
    return coefs, intercepts


def network_layers(X, coefs, intercepts):
    """Run the network and return what each layer puts out, of shape (n_samples, n_out).

    Hidden layers after ReLU come first, then the logits, of width 1.
    """
    outputs = []
    for i, (coef, intercept) in enumerate(zip(coefs, intercepts, strict=True)):
        X = X @ coef + intercept
        if i < len(coefs) - 1:
            X = np.maximum(X, 0)
        outputs.append(X)
    return outputs
