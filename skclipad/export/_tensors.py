"""What the modules of the graph share."""

import numpy as np
import torch

LOWEST = 1e-12  # scores of windows below it count as it


def keep(module, name, array, dtype=torch.float32):
    """Keep an array in a module, and so in the graph."""
    module.register_buffer(name, torch.tensor(np.asarray(array), dtype=dtype))


def unit_length(x):
    """As `skclipad._method.scores.unit`."""
    return x / x.norm(dim=-1, keepdim=True).clamp_min(1e-30)


def inverse(scores):
    """Return one over scores, of which the harmonic mean is made."""
    # A score of 0 would be infinite, and infinity times 0 no number.
    return 1 / scores.clamp_min(LOWEST)
