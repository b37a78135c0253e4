"""What a notebook shows: a fitted detector in a few words, maps as pictures."""

import base64
import io
from html import escape

import numpy as np
from PIL import Image
from sklearn.utils.validation import _is_fitted

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


class FittedSummary:
    """Adds what `fit` made to the HTML that scikit-learn shows of an estimator.

    Text representations stay as they are: they are code that makes the estimator.
    """

    def _repr_html_inner(self):
        return super()._repr_html_inner() + self._summary_html()

    def _repr_mimebundle_(self, **kwargs):
        bundle = super()._repr_mimebundle_(**kwargs)
        if "text/html" in bundle:
            bundle["text/html"] = self._repr_html_inner()
        return bundle

    def _summary_html(self):
        """Return a table of what `fit` made; nothing if there was no `fit`."""
        if not _is_fitted(self):
            return ""
        rows = "".join(
            f'<tr><th style="{CELL}">{escape(name)}</th>'
            f'<td style="{CELL}">{escape(value)}</td></tr>'
            for name, value in self._summary().items()
        )
        return f'<table class="skclipad-summary" style="{STYLE}">{rows}</table>'

    def _summary(self):
        """Describe what `fit` made: dict of str to str."""
        embedder = self._get_embedder()
        names = [embedder.model_name]
        if embedder.model_name != "tiny" and embedder.pretrained is not None:
            names.append(embedder.pretrained)
        widths = [self.n_features_in_, *(len(b) for b in self.intercepts_)]
        arrays = [*self.coefs_, *self.intercepts_, self.prompt_embeddings_]
        rows = {
            "Backbone": f"{', '.join(names)} ({self.backbone_[:8]})",
            "Network": f"{' - '.join(map(str, widths))}, {self.n_iter_:,} steps",
        }
        if self.references_ is not None:
            arrays += self.references_.values()
            rows["References"] = f"{len(self.reference_rows_)} pictures"
        rows["Size"] = f"{sum(a.nbytes for a in arrays) / 1000:,.0f} kB"
        rows["Fitted in"] = f"{self.fit_time_:.3g} s"
        return rows


class AnomalyMaps(list):
    """A list of anomaly maps, which a notebook shows as pictures.

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
        pictures = "".join(_drawn(m, low, high) for m in self[:N_DRAWN])
        more = len(self) - N_DRAWN
        rest = f", the first {N_DRAWN} of them" if more > 0 else ""
        return (
            f'<div style="display:flex;flex-wrap:wrap;gap:4px">{pictures}</div>'
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
