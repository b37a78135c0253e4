"""Callbacks of scikit-learn hear how far fit is."""

import pickle

import numpy as np
import pytest
from detectors import stand_in, tiny
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV

from skclipad import CLIPImageEmbedder
from skclipad._method.prompt_embeddings import clear_prompt_cache
from skclipad.datasets import make_defect_images

callback = pytest.importorskip("sklearn.callback", reason="scikit-learn below 1.9")


class Listener:
    """A callback that writes down what it hears."""

    max_propagation_depth = 1

    def __init__(self):
        self.heard = []

    def setup(self, estimator, context):
        self.heard.append("setup")

    def teardown(self, estimator, context):
        self.heard.append("teardown")

    def on_fit_task_begin(self, estimator, context):
        self.heard.append(f"{context.task_name} of {context.max_subtasks}")

    def on_fit_task_end(self, estimator, context):
        self.heard.append(f"{context.task_name} done")

    def count(self, what):
        return self.heard.count(what)


@pytest.fixture
def listener():
    clear_prompt_cache()
    return Listener()


def test_fit_tells_of_blocks_of_prompts_and_of_epochs(listener):
    settings = {"N_p": 250, "n_epochs": 3, "n_networks": 2, "l_max": 7}
    tiny(**settings).set_callbacks(listener).fit()
    steps = [one for one in listener.heard if "step" not in one]
    assert steps == [
        "setup",
        "fit of 2",
        "encode-prompts of 3",
        "encode-prompts done",
        "train-network of 6",
        "train-network done",
        "fit done",
        "teardown",
    ]
    assert listener.count("encode-prompts-step done") == 3
    assert listener.count("train-network-step done") == 6


def test_what_is_known_already_is_no_step(listener):
    detector = tiny(N_p=150, l_max=6).set_callbacks(listener).fit()
    listener.heard.clear()
    detector.set_params(n_epochs=1).fit()  # of prompts that the process knows
    assert "encode-prompts of 0" in listener.heard
    assert "train-network of 1" in listener.heard
    listener.heard.clear()
    detector.fit()  # a network that it knows, too
    assert listener.heard == ["setup", "fit of 2", "fit done", "teardown"]


def test_references_are_told_of_one_by_one(listener):
    images = make_defect_images(5, random_state=0).images
    tiny(n_shots="all", reference_method="mutual").set_callbacks(listener).fit(images)
    assert {"fit of 3", "embed-references of 5"} <= set(listener.heard)
    assert listener.count("embed-references-step done") == 5


def test_callbacks_do_not_change_the_detector(listener):
    images = make_defect_images(4, random_state=0).images
    plain, told = tiny(l_max=8), tiny(l_max=8).set_callbacks(listener)
    expected = plain.fit().predict_proba(images)
    assert (told.fit().predict_proba(images) == expected).all()
    assert clone(told).get_params().keys() == plain.get_params().keys()
    again = pickle.loads(pickle.dumps(told))
    assert (again.predict_proba(images) == expected).all()
    attributes = set(vars(told)) - set(vars(plain))
    assert attributes == {"_skl_callbacks"}


def test_a_fit_that_fails_is_torn_down(listener):
    detector = tiny(l_min=9, l_max=3).set_callbacks(listener)
    with pytest.raises(ValueError, match="l_min=9"):
        detector.fit()
    assert listener.heard == ["setup", "fit of 2", "teardown"]
    assert not [name for name in vars(detector) if name.startswith("_callback")]


def test_a_monitor_scores_the_fitted_detector():
    monitor = callback.ScoringMonitor(scoring="roc_auc")
    data = make_defect_images(30, random_state=0)
    X = CLIPImageEmbedder("tiny").transform(data.images)
    detector = tiny().set_callbacks(monitor).fit(X, data.target)
    (row,) = monitor.get_logs().data
    assert row["task_name"] == "fit"
    expected = roc_auc_score(data.target, detector.predict_proba(X)[:, 1])
    assert row["roc_auc"] == expected > 0.5


def test_a_search_with_callbacks_searches(listener):
    X, y = np.random.default_rng(0).normal(size=(12, 4)), [0, 1] * 6
    search = GridSearchCV(stand_in(), {"N_p": [100, 150]}, scoring="roc_auc", cv=2)
    if hasattr(search, "set_callbacks"):
        search.set_callbacks(listener)
    else:
        search.estimator.set_callbacks(listener)
    search.fit(X, y)
    assert listener.count("setup") == listener.count("teardown") > 0
    assert "train-network of 2" in listener.heard
