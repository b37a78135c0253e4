"""What a notebook shows: a fitted detector in a few words, maps as images."""

import base64
import io
from html import escape

import numpy as np
from PIL import Image
from sklearn.utils.validation import _is_fitted

from skclipad._clip.sources import BUNDLED
from skclipad._embedder import embedder_of
from skclipad._references import describe_references

# Stops from black through purple and orange to yellow, dark to bright.
STOPS = [(0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164)]
PALETTE = np.stack(
    [np.interp(np.linspace(0, 4, 256), range(5), c) for c in zip(*STOPS, strict=True)],
    axis=1,
).astype(np.uint8)
SIDE = 96  # pixels of a map's longer side, as drawn
N_DRAWN = 24

STYLE = "margin:0.5em 0 0 0;border-collapse:collapse;font-size:0.9em"
CELL = "text-align:left;padding:0.15em 1em 0.15em 0"


def summary_html(detector):
    """Return a table of what `fit` made, for the HTML that scikit-learn shows.

    Parameters
    ----------
    detector : RandomWordCLIPDetector
        A detector.

    Returns
    -------
    str
        HTML; empty if the detector is not fitted.
    """
    if not _is_fitted(detector):
        return ""
    rows = "".join(
        f'<tr><th style="{CELL}">{escape(name)}</th>'
        f'<td style="{CELL}">{escape(value)}</td></tr>'
        for name, value in _summary(detector).items()
    )
    return f'<table class="skclipad-summary" style="{STYLE}">{rows}</table>'


def _summary(detector):
    """Describe what `fit` made: dict of str to str."""
    widths = [detector.n_features_in_, *map(len, detector.intercepts_)]
    arrays = [*detector.coefs_, *detector.intercepts_, detector.prompt_embeddings_]
    rows = {
        "Backbone": f"{_clip_name(embedder_of(detector))} ({detector.backbone_[:8]})",
        "Network": f"{' - '.join(map(str, widths))}, {detector.n_iter_:,} steps",
    }

    if detector.references_ is not None:
        arrays += detector.references_.values()
        rows["References"] = describe_references(detector)
    rows["Size"] = f"{sum(array.nbytes for array in arrays) / 1000:,.0f} kB"
    if not hasattr(detector, "_get_fitted_attr_html"):
        # Since 1.9 scikit-learn lists what was learnt by name, this too.
        rows["Fitted in"] = f"{detector.fit_time_:.3g} s"
    return rows


def _clip_name(embedder):
    names = [embedder.model_name]
    if embedder.model_name not in BUNDLED and embedder.pretrained is not None:
        names.append(embedder.pretrained)
    return ", ".join(names)


class AnomalyMaps(list):
    """A list of anomaly maps, which a notebook shows as images.

    It is a list of arrays in every respect; a slice of it can be shown, too.

    Examples
    --------
    >>> import numpy as np
    >>> from skclipad._repr import AnomalyMaps
    >>> maps = AnomalyMaps([np.eye(8, dtype=np.float32)] * 3)
    >>> len(maps), maps[0].shape, maps[:2]._repr_html_().count("<img")
    (3, (8, 8), 2)
    """

    def __getitem__(self, index):
        item = super().__getitem__(index)
        return type(self)(item) if isinstance(index, slice) else item

    def _repr_html_(self):
        """Draw the first maps on one scale, and say which."""
        finite = [m[np.isfinite(m)] for m in self]
        finite = [values for values in finite if values.size]
        if not finite:
            return f"<p>{len(self)} maps, none with a value</p>"
        low = float(min(values.min() for values in finite))
        high = float(max(values.max() for values in finite))
        images = "".join(_drawn(m, low, high) for m in self[:N_DRAWN])
        more = len(self) - N_DRAWN
        rest = f", the first {N_DRAWN} of them" if more > 0 else ""
        return (
            f'<div style="display:flex;flex-wrap:wrap;gap:4px">{images}</div>'
            f"<p>{len(self)} anomaly maps{rest}: black {low:.3f}, yellow {high:.3f}</p>"
        )


def _drawn(values, low, high):
    """Return a map as an image of HTML; grey where there is no value."""
    share = (values - low) / max(high - low, 1e-12)
    pixels = PALETTE[np.rint(np.nan_to_num(share) * 255).astype(np.uint8)]
    pixels[~np.isfinite(values)] = 128
    image = Image.fromarray(pixels)
    factor = SIDE / max(image.size)
    size = [max(1, round(side * factor)) for side in image.size]
    file = io.BytesIO()
    image.resize(size, Image.Resampling.BILINEAR).save(file, "PNG")
    data = base64.b64encode(file.getvalue()).decode()
    shape = " x ".join(map(str, values.shape))
    style = f"flex:none;margin:0;width:{size[0]}px;height:{size[1]}px"
    source = f"data:image/png;base64,{data}"
    return f'<img alt="map of {shape}" style="{style}" src="{source}">'
