"""What a fitted detector says of embeddings and views, and how scores are combined."""

import numpy as np
from sklearn.utils import Bunch

from skclipad._embedder import CLIPImageEmbedder, embed_images
from skclipad._exceptions import BackboneMismatchError
from skclipad._method.network import network_layers
from skclipad._method.prompt_embeddings import object_prompts
from skclipad._method.scores import (
    combine_views,
    combined_score,
    network_score,
    prompt_score,
    unit,
)
from skclipad._storage.store import open_store

SCORES = {"prompt": "s_pr", "fnn": "s_fnn"}


class ComponentScores:
    """The part of a detector that computes scores from what `fit` learnt.

    It reads the parameters and fitted attributes of
    :class:`~skclipad.RandomWordCLIPDetector`.
    """

    def _combine_components(self, components):
        """Put components together as `scores` says, with references if there are any.

        Parameters
        ----------
        components : mapping of str to ndarray of shape (n_samples,)
            What `score_components` gives.

        Returns
        -------
        ndarray of shape (n_samples,)
            The combined score.
        """
        chosen = [components[SCORES[name]] for name in self.scores]
        chosen += [components[name] for name in components if name == "s_img"]
        return combined_score(chosen)

    def _score_images(self, images, prompts):
        embedder = self._checked_embedder()
        if self.combine_views == "embeddings" or embedder.crops == "whole":
            return self._score_embeddings(embed_images(embedder, images), prompts)

        views = embedder._embed_views(images)
        n_views = [len(embeddings) for embeddings in views]
        if prompts.shape[1] > 1:
            prompts = np.repeat(prompts, n_views, axis=1)
        scores = self._score_embeddings(np.concatenate(views), prompts)
        for name, values in scores.items():
            scores[name] = combine_views(values, n_views, self.combine_views)
        return scores

    def _score_embeddings(self, embeddings, prompts):
        seen = unit(embeddings) if self.fit_params_["normalize"] else embeddings
        logits = network_layers(seen, self.coefs_, self.intercepts_)[-1][:, 0]

        # In double precision, as thresholds are: a score that is printed and read
        # back is on the same side of every threshold.
        return Bunch(
            s_pr=prompt_score(
                embeddings.astype(np.float64), *prompts, self.temperature
            ),
            s_fnn=network_score(logits.astype(np.float64)),
        )

    def _chosen_scores(self, embeddings, prompts):
        components = self._score_embeddings(embeddings, prompts)
        return [components[SCORES[name]] for name in self.scores]

    def _prompts_of(self, objects):
        """Return the prompt embeddings of each row: (2, n_samples or 1, C_e)."""
        if objects is None:
            return self.prompt_embeddings_[:, None]
        names, rows = np.unique(objects, return_inverse=True)
        embedder = self._checked_embedder()
        prompts = [self._embed_prompts(embedder, str(name)) for name in names]
        return np.stack(prompts, axis=1)[:, rows]

    def _embed_prompts(self, embedder, object_name):
        """Return the prompt embeddings of one object, of shape (2, C_e)."""
        return object_prompts(
            embedder.encode_text,
            embedder._text_cache_name(),
            self.prompt_templates_,
            object_name,
            average=self.fit_params_["prompt_average"],
            store=open_store(self.memory),
        )

    def _checked_embedder(self):
        """Return the embedder, if it still is what the detector was fitted with."""
        embedder = self._get_embedder()
        if embedder._load().fingerprint != self.backbone_:
            raise BackboneMismatchError(
                f"The embedder holds {embedder.model_name!r} (pretrained="
                f"{embedder.pretrained!r}), which is not the CLIP that this detector "
                "was fitted with: texts and images would not share a space. Set the "
                "embedder back, or call fit again."
            )
        resize_mode = self.fit_params_["embedder__resize_mode"]
        if self.references_ is not None and embedder.resize_mode != resize_mode:
            raise ValueError(
                f"Got embedder__resize_mode={embedder.resize_mode!r}, but the "
                f"references of this detector were read with {resize_mode!r}: their "
                "parts would not compare. Set it back, or call fit again."
            )
        return embedder

    def _get_embedder(self):
        return CLIPImageEmbedder() if self.embedder is None else self.embedder
