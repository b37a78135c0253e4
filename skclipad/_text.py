"""Texts to embeddings: unique, sorted by length, no token computed in vain."""

import copy
import re
from collections import Counter
from itertools import chain

import numpy as np
import torch
from tqdm.auto import tqdm

from skclipad._exceptions import PromptTooLongError
from skclipad._prompts import BLOCK_SIZE
from skclipad._transformer import (
    Branches,
    has_plain_blocks,
    run_last_packed_block,
    run_packed_blocks,
    tokens_per_batch,
)

TEXTS_PER_GROUP = 2 * BLOCK_SIZE
"""Texts that may share a batch: a block of prompts, so that its embeddings are the same
bits whatever else is encoded with it, and a detector the same for its seed."""

FEWEST_SHARED = 8
"""Texts share the computation of their beginning if it has so many tokens: pairs of
prompts with the same random words do, those with words of their own never."""

# ASCII that open_clip's cleaning (ftfy, HTML entities, white space) leaves as it is.
_PLAIN = re.compile("[ -%(-;=-~]*")


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
    does not see what follows it. Each text is therefore cut there, and a batch holds
    the tokens of its texts one after another; texts of one length attend together,
    and a long beginning that texts of a group have in common is computed once.
    This is exact and several times faster than padding to the full context. Other
    towers run at full length.
    """
    places = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    tokens = tokenize(backbone, list(places))
    tower = _causal_tower(backbone.model)
    if tower is None:
        lengths = np.full(len(tokens), tokens.shape[1])
        trunks, shared = np.arange(len(tokens)), np.zeros(len(tokens), dtype=int)
    else:
        lengths = _end_positions(backbone.model, tower, tokens).numpy() + 1
        trunks, shared = _find_trunks(tokens.numpy(), lengths)
    embeddings = np.empty((len(tokens), backbone.embed_dim), dtype=np.float32)
    progress = tqdm(
        total=len(tokens), desc="Encoding texts", unit="text", disable=not verbose
    )
    with torch.inference_mode(), progress:
        for rows, at in _batches(
            lengths, trunks, shared, tokens_per_batch(backbone.device)
        ):
            batch = tokens[torch.from_numpy(rows)]
            if tower is None:
                batch = batch.to(backbone.device)
                encoded = backbone.model.encode_text(batch, normalize=False)
            else:
                encoded = _encode_causal(
                    tower, batch, lengths[rows], at, shared[rows], backbone.device
                )
            embeddings[rows] = encoded.float().cpu().numpy()
            progress.update(len(rows))
    return embeddings[[places[text] for text in texts]]


def tokenize(backbone, texts):
    """Tokenize texts as open_clip does, refusing those that do not fit.

    Parameters
    ----------
    backbone : Backbone
        The frozen CLIP.
    texts : sequence of str
        Texts.

    Returns
    -------
    torch.Tensor of shape (n_texts, context_length), dtype int64
        Token ids, padded as the tower expects.

    Raises
    ------
    PromptTooLongError
        If a text has more tokens than the context.
    ValueError
        If the tokenizer gives tokens that the text tower does not know.
    """
    tokenizer, context = backbone.tokenizer, backbone.context_length
    is_simple = type(tokenizer).__name__ == "SimpleTokenizer"
    # A reduction drops tokens at random from what is too long.
    if is_simple and tokenizer.reduction_fn is None:
        tokens, n_tokens = _tokenize_simple(tokenizer, texts, context)
        has = "has"
    else:
        tokens, n_tokens = _tokenize_any(tokenizer, texts, context)
        has = "has at least"
    worst = int(n_tokens.argmax())
    if n_tokens[worst] > context:
        raise PromptTooLongError(
            f"The text {texts[worst]!r} {has} {n_tokens[worst]} tokens but "
            f"{backbone.model_name} reads at most {context}: its end would be lost. "
            "Use shorter random words (a smaller l_max) or shorter words of state."
        )
    known = backbone.vocab_size
    if known and len(tokens) and int(tokens.max()) >= known:
        raise backbone.vocabulary_error(f"gives token {int(tokens.max())}")
    return tokens


def _tokenize_simple(tokenizer, texts, context):
    """Tokenize with open_clip's own byte-pair tokenizer, which is slow with cleaning.

    Returns
    -------
    tokens : torch.Tensor of shape (n_texts, context)
        Token ids, 0 after the end.
    n_tokens : ndarray of shape (n_texts,)
        Tokens that each text has, those that do not fit included.
    """
    # It remembers every word it sees for ever; a copy forgets random words with us.
    tokenizer = copy.copy(tokenizer)
    tokenizer.cache = dict(tokenizer.cache)
    is_lowering = tokenizer.clean_fn("A_b. ") == "a_b."
    pieces = {}
    rows = []
    for text in texts:
        if is_lowering and _PLAIN.fullmatch(text):
            row = []
            for piece in tokenizer.pat.findall(text.lower()):
                if piece not in pieces:
                    parts = tokenizer.bpe(piece).split(" ")
                    pieces[piece] = [tokenizer.encoder[part] for part in parts]
                row += pieces[piece]
        else:
            row = tokenizer.encode(text)
        rows.append([tokenizer.sot_token_id, *row, tokenizer.eot_token_id])
    n_tokens = np.array([len(row) for row in rows])
    tokens = np.zeros((len(rows), context), dtype=np.int64)
    tokens[np.arange(context) < n_tokens[:, None]] = np.fromiter(
        chain.from_iterable(row[:context] for row in rows), dtype=np.int64
    )
    return torch.from_numpy(tokens), n_tokens


def _tokenize_any(tokenizer, texts, context):
    """Tokenize with any tokenizer, finding out what it cuts off in silence.

    Returns
    -------
    tokens : torch.Tensor of shape (n_texts, context)
        Token ids as the tokenizer pads them.
    n_tokens : ndarray of shape (n_texts,)
        Tokens of each text; more than `context` if it was cut.
    """
    # What fits looks the same in twice the room. Some tokenizers end every row, even
    # an empty one, with a token of their own.
    *tokens, empty = tokenizer([*texts, ""], context)
    *wide, wide_empty = tokenizer([*texts, ""], 2 * context)
    tokens, wide = torch.stack(tokens), torch.stack(wide)
    expected = wide_empty.repeat(len(tokens), 1)
    is_padding = empty == wide_empty[:context]
    expected[:, :context] = torch.where(is_padding, tokens, wide_empty[:context])
    fits = (expected == wide).all(dim=1)
    # The end-of-text token may look like padding: at least one more than fits.
    n_used = (wide != wide_empty).sum(dim=1).clamp(min=context + 1)
    n_tokens = torch.where(fits, 0, n_used)
    return tokens, n_tokens.numpy()


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


def _end_positions(model, tower, tokens):
    """Find the token that open_clip's pooling reads, as it does itself."""
    eos = getattr(model, "text_eos_id", getattr(tower, "eos_id", None))
    if getattr(tower, "text_pool_type", getattr(tower, "pool_type", None)) == "eos":
        tokens = (tokens == eos).int()
    return tokens.argmax(dim=1)


def _find_trunks(tokens, lengths):
    """Find the texts of each group that begin as another one, their trunk, does.

    Returns
    -------
    trunks : ndarray of shape (n_texts,)
        Which text each one begins as; most begin as themselves.
    shared : ndarray of shape (n_texts,)
        How many tokens they share; 0 for trunks.
    """
    n_texts, context = tokens.shape
    trunks, shared = np.arange(n_texts), np.zeros(n_texts, dtype=int)
    for first in range(0, n_texts, TEXTS_PER_GROUP):
        group = tokens[first : first + TEXTS_PER_GROUP]
        order = np.lexsort(group.T[::-1])
        is_equal = group[order[1:]] == group[order[:-1]]
        with_previous = np.where(is_equal.all(axis=1), context, is_equal.argmin(axis=1))
        trunk, with_trunk = order[0], context
        for i, n_common in zip(order[1:], with_previous, strict=True):
            with_trunk = min(with_trunk, n_common)
            n_shared = min(with_trunk, lengths[first + i] - 1)
            if n_shared < FEWEST_SHARED:
                trunk, with_trunk = i, context
            else:
                trunks[first + i], shared[first + i] = first + trunk, n_shared
    return trunks, shared


def _batches(lengths, trunks, shared, n_tokens):
    """Cut each group into even batches of about `n_tokens`.

    Yields
    ------
    rows : ndarray of shape (n_batch,)
        Texts of a batch, short ones first; a text is in the batch of its trunk, and
        trunks come before what begins as they do.
    at : ndarray of shape (n_batch,)
        Where in `rows` the trunk of each lies.
    """
    place = np.empty(len(lengths), dtype=int)
    for first in range(0, len(lengths), TEXTS_PER_GROUP):
        group = np.arange(first, min(first + TEXTS_PER_GROUP, len(lengths)))
        is_branch = shared[group] > 0
        order = np.lexsort((is_branch, trunks[group], lengths[trunks[group]]))
        group, is_branch = group[order], is_branch[order]
        ends = (lengths - shared)[group].cumsum()
        n_batches = -(-ends[-1] // n_tokens)
        batch = (ends - 1) * n_batches // ends[-1]
        own_trunk = np.where(is_branch, 0, np.arange(len(group)))
        batch = batch[np.maximum.accumulate(own_trunk)]
        for rows in np.split(group, np.flatnonzero(np.diff(batch)) + 1):
            rows = rows[np.argsort(shared[rows] > 0, kind="stable")]
            place[rows] = np.arange(len(rows))
            yield rows, place[trunks[rows]]


def _encode_causal(tower, tokens, lengths, trunks, shared, device):
    """Encode texts, trunks first and by length, without any padding between them."""
    transformer = tower.transformer
    dtype = transformer.get_cast_dtype()
    place = torch.arange(int(lengths.max())).expand(len(tokens), -1)
    is_read = place < torch.from_numpy(lengths)[:, None]
    is_read &= place >= torch.from_numpy(shared)[:, None]
    place = place[is_read].to(device)
    tokens = tokens[:, : is_read.shape[1]][is_read].to(device)
    x = tower.token_embedding(tokens).to(dtype)  # (n_tokens_in_all, width)
    x = x + tower.positional_embedding[place].to(dtype)
    branches, n_trunks = None, int((shared == 0).sum())
    if n_trunks < len(lengths):
        ends = (array[n_trunks:] for array in (trunks, shared, lengths))
        branches = Branches(lengths[:n_trunks], *ends, device)
    counted = Counter(lengths[:n_trunks].tolist())
    runs = [(n, length) for length, n in sorted(counted.items())]
    *blocks, last = transformer.resblocks
    run_packed_blocks(blocks, x, runs, causal=True, branches=branches)
    x = run_last_packed_block(last, x, runs, branches)  # (n, width)
    return _project_text(tower, tower.ln_final(x))


def _project_text(tower, x):
    projection = tower.text_projection
    if projection is None:
        return x
    return projection(x) if isinstance(projection, torch.nn.Module) else x @ projection
