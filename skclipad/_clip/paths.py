"""Which towers run on this package's own forward passes, and what it costs if not."""

from skclipad._clip.text import causal_tower
from skclipad._clip.vision import reads_class_token

NO_WINDOWS = (
    "few shots (n_shots) compare no windows, so that they give other scores, and are "
    "exported with reference_method='mutual' alone"
)
COSTS = {
    "image": (
        "maps of words look at 41 crops of the image and take many times as long; "
        f"{NO_WINDOWS}"
    ),
    "text": "texts run at full length, so that fit takes several times as long",
}


def slow_towers(model):
    """Return which towers of a model run on open_clip's own forward pass.

    Parameters
    ----------
    model : torch.nn.Module
        A model of open_clip.

    Returns
    -------
    list of str
        "image", "text", both or none.
    """
    is_fast = {
        "image": reads_class_token(model.visual),
        "text": causal_tower(model) is not None,
    }
    return [tower for tower, fast in is_fast.items() if not fast]


def towers_of_known_kind(config):
    """Return which towers a configuration of open_clip promises a fast pass for.

    It tells by the configuration alone, so that a release of open_clip which builds
    such towers in another way is noticed.

    Parameters
    ----------
    config : dict
        Configuration of a model, as open_clip has it.

    Returns
    -------
    list of str
        "image" for a ViT of open_clip's own read at its class token, "text" for a
        causal text tower of open_clip's own read at its last token.
    """
    vision, text = config.get("vision_cfg") or {}, config.get("text_cfg") or {}
    is_known = {
        "image": not (
            vision.get("timm_model_name")
            or isinstance(vision.get("layers"), list | tuple)
            or vision.get("attentional_pool")
            or vision.get("pool_type", "tok") != "tok"
            or "multimodal_cfg" in config
        ),
        "text": not (
            text.get("hf_model_name")
            or text.get("no_causal_mask")
            or text.get("embed_cls")
            or text.get("pool_type", "argmax") not in ("argmax", "eos")
        ),
    }
    return [tower for tower, known in is_known.items() if known]
