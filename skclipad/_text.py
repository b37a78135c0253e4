"""Texts to embeddings: unique, sorted by length, cut at the longest of each batch."""

import numpy as np
import torch
from tqdm.auto import tqdm

from skclipad._exceptions import PromptTooLongError
from skclipad._transformer import has_plain_blocks, run_blocks, run_last_block

TOKENS_PER_BATCH = {"cpu": 2560, "cuda": 65536, "mps": 8192}
TEXTS_PER_TOKENIZATION = 2000


def encode_texts(backbone, texts, *, verbose=False):
    """Embed texts with the text tower of a backbone.

    Parameters
    ----------
    backbone : Backbone
        The frozen CLIP.
    texts : sequence of str
        Texts; repeated ones are encoded once.
    verbose : bool, default=False
        Show a progress bar.

    Returns
    -------
    ndarray of shape (n_texts, C_e), dtype float32
        Raw embeddings ``e``, as open_clip's ``encode_text``.

    Raises
    ------
    PromptTooLongError
        If a text does not fit the context: it would lose its end, and with it words
        that matter.

    Notes
    -----
    In a causal tower pooled at the end-of-text token (EOT), that token's embedding
    does not see what follows it. Texts are therefore sorted by length and each batch
    is cut at its longest text, which is exact and several times faster than padding
    to the full context. Other towers run at full length.
    """
    unique, inverse = np.unique(np.asarray(texts, dtype=object), return_inverse=True)
    tokens, lengths = tokenize(backbone, list(unique))
    tower = _causal_tower(backbone.model)
    if tower is None:
        lengths = np.full(len(tokens), backbone.context_length)
    embeddings = np.empty((len(tokens), backbone.embed_dim), dtype=np.float32)
    progress = tqdm(
        total=len(tokens), desc="Encoding texts", unit="text", disable=not verbose
    )
    with torch.inference_mode(), progress:
        for rows in _batches(lengths, TOKENS_PER_BATCH[backbone.device.type]):
            longest = int(lengths[rows].max())
            batch = tokens[torch.from_numpy(rows), :longest].to(backbone.device)
            if tower is None:
                encoded = backbone.model.encode_text(batch)
            else:
                ends = torch.from_numpy(lengths[rows] - 1).to(backbone.device)
                encoded = _encode_causal(tower, batch, ends)
            embeddings[rows] = encoded.float().cpu().numpy()
            progress.update(len(rows))
    return embeddings[inverse]


def tokenize(backbone, texts):
    """Tokenize texts, refusing those that do not fit.

    Parameters
    ----------
    backbone : Backbone
        The frozen CLIP.
    texts : sequence of str
        Texts.

    Returns
    -------
    tokens : torch.Tensor of shape (n_texts, context_length), dtype int64
        Token ids, padded as the tower expects.
    lengths : ndarray of shape (n_texts,)
        Number of tokens up to the end-of-text token, that one included, for towers
        that have one; otherwise the context length.

    Raises
    ------
    PromptTooLongError
        If a text has more tokens than the context.
    """
    context = backbone.context_length
    # Twice the context shows what a tokenizer would otherwise cut off in silence.
    wide = torch.cat(
        [
            backbone.tokenizer(texts[i : i + TEXTS_PER_TOKENIZATION], 2 * context)
            for i in range(0, len(texts), TEXTS_PER_TOKENIZATION)
        ]
    )
    padding = backbone.tokenizer([""], 2 * context)[0, -1]
    is_text = wide != padding
    # The last token that is no padding: the padding id may be a token elsewhere.
    n_tokens = 2 * context - is_text.flip(1).int().argmax(dim=1).numpy()
    worst = int(n_tokens.argmax())
    if n_tokens[worst] > context:
        raise PromptTooLongError(
            f"The text {texts[worst]!r} has {_count(n_tokens[worst], 2 * context)} "
            f"tokens but {backbone.model_name} reads at most {context}: its end would "
            "be lost. Use shorter random words (a smaller l_max) or shorter words of "
            "state."
        )
    return wide[:, :context], n_tokens


def _count(n_tokens, limit):
    return f"{n_tokens}" if n_tokens < limit else f"at least {limit}"


def _causal_tower(model):
    """Return the part of a model that holds a causal text tower pooled at EOT.

    Parameters
    ----------
    model : torch.nn.Module
        open_clip's model. ``CLIP`` carries the tower's parts itself, ``CustomTextCLIP``
        keeps them in ``model.text``.

    Returns
    -------
    torch.nn.Module or None
        None if the tower is of another kind: it must then run at full length.
    """
    tower = getattr(model, "text", model)
    pool_type = getattr(tower, "text_pool_type", getattr(tower, "pool_type", None))
    mask = getattr(tower, "attn_mask", None)
    if (
        pool_type not in ("argmax", "eos")
        or mask is None
        or getattr(tower, "cls_emb", None) is not None
        or not has_plain_blocks(getattr(tower, "transformer", None))
        or not torch.equal(mask.isinf(), torch.ones_like(mask).triu(1).bool())
    ):
        return None
    return tower


def _batches(lengths, n_tokens):
    """Cut texts, shortest first, into batches of about `n_tokens` tokens."""
    order = np.argsort(lengths, kind="stable")
    start = 0
    while start < len(order):
        stop = start + 1
        while (
            stop < len(order) and (stop + 1 - start) * lengths[order[stop]] <= n_tokens
        ):
            stop += 1
        yield order[start:stop]
        start = stop


def _encode_causal(tower, tokens, ends):
    transformer = tower.transformer
    dtype = transformer.get_cast_dtype()
    x = tower.token_embedding(tokens).to(dtype)  # (n, n_tokens, width)
    x = x + tower.positional_embedding[: tokens.shape[1]].to(dtype)
    *blocks, last = transformer.resblocks
    x = run_blocks(blocks, x, causal=True)
    x = run_last_block(last, x, ends, causal=True)  # (n, width)
    return _project_text(tower, tower.ln_final(x))


def _project_text(tower, x):
    projection = tower.text_projection
    if projection is None:
        return x
    return projection(x) if isinstance(projection, torch.nn.Module) else x @ projection
