"""Small CLIPs with the structure of real ones and random weights in every parameter."""

import copy
import json
import warnings

import numpy as np
import open_clip
import torch

from skclipad._clip.backbone import load_backbone

TEXT = {"width": 32, "heads": 2, "layers": 3}
VISION = {
    "image_size": 32,
    "patch_size": 8,
    "width": 32,
    "head_width": 16,
    "layers": 3,
}


class StandInTokenizer:
    """Tokens are letters; the way of each kind of Hugging Face tokenizer to end a row.

    "t5": padding is the end-of-text token; "bert": a class token before the text, the
    end-of-text token made padding; "clips": a class token at the end of the padding.
    """

    def __init__(self, kind):
        self.kind = kind

    def __call__(self, texts, context_length):
        rows = []
        for text in texts:
            letters = [10 + ord(letter) % 100 for letter in text]
            if self.kind == "t5":
                row = letters[: context_length - 1] + [1]
                row += [1] * (context_length - len(row))
            elif self.kind == "bert":
                row = [2] + letters[: context_length - 2] + [0]
                row += [0] * (context_length - len(row))
            else:
                row = [2] + letters[: context_length - 3] + [3]
                row += [0] * (context_length - 1 - len(row)) + [4]
            rows.append(row)
        return torch.tensor(rows)

    def most_letters(self, context_length):
        return context_length - {"t5": 1, "bert": 2, "clips": 3}[self.kind]


def small_clip(folder, like, *, text=None, vision=None):
    """Load a model with the configuration of a registry name, made small.

    Parameters
    ----------
    folder : Path
        Where the configuration is written.
    like : str
        A name of open_clip's registry.
    text, vision : dict, default=None
        What else to change of the towers' configurations.

    Returns
    -------
    Backbone
        The frozen model; no parameter of it is 0 or 1 throughout.
    """
    config = copy.deepcopy(open_clip.get_model_config(like))
    config["embed_dim"] = 24
    config["text_cfg"] |= TEXT | (text or {})
    config["vision_cfg"] |= VISION | (vision or {})
    for key in [key for key in config["vision_cfg"] if key.startswith("timm")]:
        if key not in (vision or {}):
            del config["vision_cfg"][key]
    if "multimodal_cfg" in config:
        config["multimodal_cfg"] |= TEXT | {"layers": 1}
    path = folder / f"small-{folder.name}.json"
    path.write_text(json.dumps(config))
    open_clip.add_model_config(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its weights are random
        backbone = load_backbone(path.stem, None, device="cpu", precision="fp32")
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in backbone.model.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return backbone


def cosines(A, B):
    """Return the cosines between rows of two arrays of embeddings."""
    norms = np.linalg.norm(A, axis=1) * np.linalg.norm(B, axis=1)
    return (A.astype(float) * B).sum(axis=1) / norms
