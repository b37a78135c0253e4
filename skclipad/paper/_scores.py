"""Scores of all methods for one seed, each computed once however many rows need it."""

from functools import cache, partial

from skclipad._embedder import text_encoder
from skclipad._method.prompt_embeddings import object_prompts
from skclipad._method.prompts import query_templates
from skclipad._method.scores import combined_score, prompt_score
from skclipad.paper._plan import METHODS


class UnitScores:
    """What rows of one setting and seed are computed from.

    Called with a row, it returns the scores of its category's images. The detector has
    the setting and, if rows of a network are asked for, is fitted. `views` are
    embeddings by category, `few_shot` is ``s_img`` by category, seed and shots, and
    `object_names` turns a category into the name of what it shows.
    """

    def __init__(self, detector, views, few_shot, object_names):
        self.detector = detector
        self.views = views
        self.few_shot = few_shot
        self.object_names = object_names
        self._component = cache(self._compute)

    def __call__(self, row):
        where = row["category"], row["crops"], row["setup"]
        parts = [self._component(name, *where) for name in METHODS[row["method"]]]
        if row["shots"]:
            parts.append(self.few_shot[row["category"], row["seed"], row["shots"]])
        return combined_score(parts)

    def _compute(self, name, category, crops, setup):
        if name == "s_fnn" and setup != "unknown":  # the network knows of no object
            return self._component(name, category, crops, "unknown")

        if name == "s_fnn":
            function = self._network_score
        else:
            thing = self.object_names(category) if setup == "known" else "object"
            prompt_set = "single" if name == "s_pr" else "winclip"
            normal, anomaly = self._prompts(prompt_set, thing)
            function = partial(
                prompt_score,
                normal=normal,
                anomaly=anomaly,
                temperature=self.detector.temperature,
            )

        how = self.detector.combine_views
        return self.views[category].score(crops, how, function)

    def _network_score(self, embeddings):
        return self.detector.score_components(embeddings).s_fnn

    def _prompts(self, prompt_set, object_name):
        """Return the prompt embeddings of one object, of shape (2, C_e)."""
        detector = self.detector
        templates = query_templates(
            prompt_set,
            normal_word=detector.normal_word,
            anomaly_word=detector.anomaly_word,
        )

        # Kept where the images are: all seeds need them.
        with text_encoder(detector.embedder, detector.embedder.memory) as texts:
            return object_prompts(
                texts, templates, object_name, average=detector.prompt_average
            )
