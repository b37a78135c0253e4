"""One rival on prepared images, in an environment of its own; see rivals.py.

Reads ``task.npz`` of the folder given, writes ``answer.json`` there. Imports nothing of
skclipad, whose requirements differ from the rivals'.
"""

import json
import resource
import sys
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import open_clip
import torch
from anomalib.models.image.padim.torch_model import PadimModel
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from anomalib.models.image.winclip import torch_model as winclip
from imgad import AnomalyDetectionPipeline
from imgad.features.open_clip import OpenCLIPFeatureExtractor
from PIL import Image
from safetensors.torch import load_file

LITE = "tf_efficientnet_lite0"
LITE_SIZE = 256
BATCH = 32
STAGES = [2, 3]
"""Of lite's tower: those that see an eighth and a sixteenth of the pixels a side, which
skclipad reads, too."""


def load_clip(task):
    """Return a CLIP, its tokenizer and how images become its input."""
    if task["model"] == "tiny":
        folder = Path(task["bundled"]) / "tiny"
        config = json.loads((folder / "open_clip_config.json").read_text())
        model = open_clip.model.CLIP(**config["model_cfg"])
        model.load_state_dict(load_file(folder / "open_clip_model.safetensors"))
        tokenizer = open_clip.SimpleTokenizer(str(folder / "bpe_vocab.txt.gz"))
        size = config["model_cfg"]["vision_cfg"]["image_size"]
        mean, std = (config["preprocess_cfg"][name] for name in ("mean", "std"))
    else:
        model = open_clip.create_model(task["model"])
        tokenizer = open_clip.get_tokenizer(task["model"])
        size = model.visual.image_size
        size = size if isinstance(size, int) else size[0]
        mean, std = open_clip.OPENAI_DATASET_MEAN, open_clip.OPENAI_DATASET_STD

    return model.eval(), tokenizer, lambda images: prepared(images, size, mean, std)


def prepared(images, size, mean, std):
    """Squash images (n, H, W, 3) to a square and normalise: (n, 3, size, size)."""
    small = [
        np.asarray(Image.fromarray(p).resize((size, size), Image.Resampling.BICUBIC))
        for p in images
    ]
    x = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2).float() / 255
    return (x - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)


def run_winclip(task):
    """Return a function that fits on references and scores images."""
    clip, tokenizer, prepare = load_clip(task)
    winclip.open_clip.create_model_and_transforms = lambda *a, **k: (clip, None, None)
    winclip.tokenize = tokenizer
    model = winclip.WinClipModel().eval()

    def score(references, images):
        # setup() would keep the references of the category before.
        model.reference_images, model.k_shot = None, 0
        model.setup("object", prepare(references) if len(references) else None)
        return [model(prepare(p[None])).pred_score.item() for p in images]

    return score


def run_imgad(task):
    """Return a function that fits on references and scores images."""
    clip, tokenizer, prepare = load_clip(task)
    extractor = OpenCLIPFeatureExtractor(task["model"], device="cpu")
    extractor._model = clip
    extractor._preprocess = lambda image: prepare(np.asarray(image)[None])[0]
    open_clip.get_tokenizer = lambda name: tokenizer

    def score(references, images):
        pipeline = AnomalyDetectionPipeline(extractor, "zero_shot")
        pipeline.fit([Image.fromarray(image) for image in references])
        images = [Image.fromarray(image) for image in images]
        return pipeline.score(images, show_progress=False).tolist()

    return score


def with_lite(model, task):
    """Put the weights of lite's image tower into a model of anomalib."""
    file = Path(task["bundled"]) / "lite" / "open_clip_model.safetensors"
    start = "visual.trunk."
    weights = {
        name.removeprefix(start): value.float()
        for name, value in load_file(file).items()
        if name.startswith(start)
    }
    tower = model.feature_extractor.feature_extractor
    absent = tower.load_state_dict(weights, strict=False).missing_keys
    if absent:
        raise RuntimeError(f"lite has no weights for {absent}")
    return model


def prepared_for_lite(images):
    """Squash and normalise as lite's tower was trained."""
    return prepared(images, LITE_SIZE, (0.5,) * 3, (0.5,) * 3)


def run_patchcore(task):
    """Return a function that fits on references and scores images."""
    model = PatchcoreModel(layers=STAGES, backbone=LITE, pre_trained=False)
    model = with_lite(model, task)

    def score(references, images):
        model.train()
        for start in range(0, len(references), BATCH):
            model(prepared_for_lite(references[start : start + BATCH]))
        model.subsample_embedding(sampling_ratio=0.1)
        model.eval()
        inputs = (prepared_for_lite(p[None]) for p in images)
        return [model(x).pred_score.item() for x in inputs]

    return score


def run_padim(task):
    """Return a function that fits on references and scores images."""

    def score(references, images):
        torch.manual_seed(0)
        model = PadimModel(LITE, STAGES, pre_trained=False, n_features=100)
        model = with_lite(model, task).train()
        for start in range(0, len(references), BATCH):
            model(prepared_for_lite(references[start : start + BATCH]))
        model.fit()
        model.eval()
        inputs = (prepared_for_lite(p[None]) for p in images)
        return [model(x).pred_score.item() for x in inputs]

    return score


RIVALS = {
    "anomalib WinClip": run_winclip,
    "anomalib PatchCore": run_patchcore,
    "anomalib PaDiM": run_padim,
    "imgad zero_shot": run_imgad,
}


def main():
    """Score all images of the task and write the answer."""
    folder = Path(sys.argv[1])
    task = json.loads((folder / "task.json").read_text())
    arrays = np.load(folder / "task.npz")

    torch.manual_seed(0)
    with torch.inference_mode():
        score = RIVALS[task["name"]](task)
        scores, seconds, cpu = [], 0.0, 0.0
        for number in range(task["n_groups"]):
            references = arrays[f"references_{number}"]
            images = arrays[f"images_{number}"]
            start, start_cpu = perf_counter(), process_time()
            scores.append(score(references, images))
            seconds += perf_counter() - start
            cpu += process_time() - start_cpu

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer = {"scores": scores, "seconds": seconds, "cpu": cpu, "peak_mb": peak}
    (folder / "answer.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
