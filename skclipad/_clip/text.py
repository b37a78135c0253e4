"""Texts to embeddings: unique, sorted by length, no token computed in vain."""

import copy
import re
from collections import Counter
from itertools import chain

import numpy as np
import torch
from tqdm.auto import tqdm

from skclipad._clip.transformer import (
    has_plain_blocks,
    run_last_packed_block,
    run_packed_blocks,
    tokens_per_batch,
)
from skclipad._exceptions import PromptTooLongError

TEXTS_PER_GROUP = 200
"""Texts that may share a batch: a block of training prompts, so that its embeddings are
the same bits whatever else is encoded with it, and a detector the same for its seed."""

# ASCII that open_clip's cleaning (ftfy, HTML entities, white space) leaves as it is.
_PLAIN = re.compile("[ -%(-;=-~]*")


def encode_texts(backbone, texts, *, verbose=False):
    """Embed texts with the text tower of a backbone, as open_clip's ``encode_text``.

    In a causal tower pooled at the end-of-text token (EOT), that token's embedding
    does not see what follows it. Each text is therefore cut there, and a batch holds
    the tokens of its texts one after another; texts of one length attend together.
    This is exact and several times faster than padding to the full context. Other
    towers run at full length. Repeated texts are encoded once.

    A PromptTooLongError says that a text does not fit the context: it would lose its
    end, and with it words that matter.
    """
    places = {text: i for i, text in enumerate(dict.fromkeys(texts))}
    tokens = tokenize(backbone, list(places))
    tower = causal_tower(backbone.model)
    if tower is None:
        lengths = np.full(len(tokens), tokens.shape[1])
    else:
        lengths = _end_positions(backbone.model, tower, tokens).numpy() + 1

    embeddings = np.empty((len(tokens), backbone.embed_dim), dtype=np.float32)
    progress = tqdm(
        total=len(tokens), desc="Encoding texts", unit="text", disable=not verbose
    )
    with torch.inference_mode(), progress:
        for rows in _batches(lengths, tokens_per_batch(backbone.device)):
            batch = tokens[torch.from_numpy(rows)]
            if tower is None:
                batch = batch.to(backbone.device)
                encoded = backbone.model.encode_text(batch, normalize=False)
            else:
                encoded = _encode_causal(tower, batch, lengths[rows], backbone)
            embeddings[rows] = encoded.float().cpu().numpy()
            progress.update(len(rows))
    return embeddings[[places[text] for text in texts]]


def tokenize(backbone, texts):
    """Tokenize texts as open_clip does, of shape (n_texts, context_length).

    A text that does not fit, and tokens that the tower does not know, are refused.
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

    Tokens are 0 after the end; their number counts those that do not fit, too.
    """
    # It remembers every word it sees for ever; a copy forgets random words with us.
    tokenizer = copy.copy(tokenizer)
    tokenizer.cache = dict(tokenizer.cache)
    is_lowering = tokenizer.clean_fn("A_b. ") == "a_b."
    pieces, rows = {}, []
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

    The number of tokens is more than `context` where a text was cut.
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


def causal_tower(model):
    """Return the part of a model that holds a causal text tower pooled at EOT.

    ``CLIP`` carries the tower's parts itself, ``CustomTextCLIP`` keeps them in
    ``model.text``. A tower of another kind is None: it must run at full length.
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


def _batches(lengths, n_tokens):
    """Cut each group, shortest text first, into even batches of about `n_tokens`."""
    for first in range(0, len(lengths), TEXTS_PER_GROUP):
        group = lengths[first : first + TEXTS_PER_GROUP]
        order = first + np.argsort(group, kind="stable")
        ends = lengths[order].cumsum()
        n_batches = -(-ends[-1] // n_tokens)
        batch = (ends - 1) * n_batches // ends[-1]
        yield from np.split(order, np.flatnonzero(np.diff(batch)) + 1)


def _encode_causal(tower, tokens, lengths, backbone):
    """Encode texts, sorted by length, without any padding between them."""
    device, dtype = backbone.device, backbone.dtype
    place = torch.arange(int(lengths[-1])).expand(len(tokens), -1)
    is_read = place < torch.from_numpy(lengths)[:, None]
    place = place[is_read].to(device)
    tokens = tokens[:, : is_read.shape[1]][is_read].to(device)

    x = tower.token_embedding(tokens).to(dtype)  # (n_tokens_in_all, width)
    x = x + tower.positional_embedding[place].to(dtype)
    runs = [(n, length) for length, n in Counter(lengths.tolist()).items()]
    *blocks, last = tower.transformer.resblocks
    run_packed_blocks(blocks, x, runs, causal=True)
    x = run_last_packed_block(last, x, runs)  # (n, width)
    return _project_text(tower, tower.ln_final(x))


def _project_text(tower, x):
    projection = tower.text_projection
    if projection is None:
        return x
    return projection(x) if isinstance(projection, torch.nn.Module) else x @ projection
