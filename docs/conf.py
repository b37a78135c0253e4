"""How the documentation is built: `make docs`."""

import os
import warnings

from docutils.nodes import SkipNode
from docutils.utils.math import latex2mathml

import skclipad

# -- what it is ------------------------------------------------------------------------

project = "skclipad"
author = "The skclipad developers"
copyright = "The skclipad developers"
version = release = skclipad.__version__

# -- how it is read --------------------------------------------------------------------

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
    "sphinx_gallery.gen_gallery",
]
templates_path = ["_templates"]
exclude_patterns = ["_build"]
default_role = "literal"  # as in scikit-learn: `X` is a name, not a link
autodoc_typehints = "none"
toc_object_entries_show_parents = "hide"
autosummary_generate = True
numpydoc_show_class_members = False  # the templates list them
# A class that orders the gallery cannot be kept between builds, and need not be.
suppress_warnings = ["config.cache"]

# -- the gallery -----------------------------------------------------------------------

ORDER = [
    "plot_quick_start.py",
    "plot_own_folder.py",
    "plot_grid_search.py",
    "plot_thresholds.py",
    "plot_unlabelled_folder.py",
    "plot_few_shot.py",
    "plot_maps.py",
    "plot_random_words.py",
    "plot_reading_results.py",
]


class ReadingOrder:
    """Sort the gallery from first steps to fine points."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, name):
        return ORDER.index(name) if name in ORDER else len(ORDER)

    def __repr__(self):
        return "ReadingOrder"


sphinx_gallery_conf = {
    "examples_dirs": "../examples",
    "gallery_dirs": "auto_examples",
    "filename_pattern": r"/plot_",
    "ignore_pattern": r"score_with_onnxruntime|to_\w+\.py",  # to copy, no essays
    "within_subsection_order": ReadingOrder,
    "backreferences_dir": "generated/backreferences",
    "doc_module": ("skclipad",),
    "reference_url": {"skclipad": None},
    "abort_on_example_error": True,
    "capture_repr": ("_repr_html_",),  # no <object at 0x7f...>
    "min_reported_time": 1e6,
    "show_memory": False,
    "remove_config_comments": True,
    "download_all_examples": False,
    "plot_gallery": os.environ.get("SKCLIPAD_GALLERY", "run") == "run",
}
# The only warning that an essay asks for; the page would show paths of this machine.
warnings.filterwarnings("ignore", message=".*could not be read", category=UserWarning)

# Where an essay shows an estimator, its parameters link to its page of the reference.
# Elsewhere they link nowhere: there is no published page that they could name.
REFERENCE = "../generated/{estimator_module}.{estimator_name}.html"
for estimator in (skclipad.CLIPImageEmbedder, skclipad.RandomWordCLIPDetector):
    estimator._doc_link_module = "skclipad"
    estimator._doc_link_template = REFERENCE

# -- how it looks ----------------------------------------------------------------------

html_theme = "pydata_sphinx_theme"
html_title = "skclipad"
html_static_path = ["_static"]
html_css_files = ["skclipad.css"]
html_show_sourcelink = False
html_copy_source = False
html_theme_options = {
    "logo": {"text": "skclipad"},
    "navbar_end": ["theme-switcher"],
    "navbar_align": "left",
    "header_links_before_dropdown": 6,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    # Essays have code of 88 columns, which wants the room.
    "secondary_sidebar_items": {
        "**": ["page-toc"],
        "models": [],  # nor has its table room to spare
        **{f"auto_examples/{name.removesuffix('.py')}": [] for name in ORDER},
    },
}
# Without it the theme's script complains on the console before it takes "auto".
html_context = {"default_mode": "auto"}
html_sidebars = {"index": [], "changes": []}


# -- equations without network ---------------------------------------------------------


def visit_math(translator, node):
    """Write an equation as MathML, which browsers draw without any script."""
    translator.body.append(latex2mathml.tex2mathml(node.astext(), as_block=False))
    raise SkipNode  # its children are done with


def visit_math_block(translator, node):
    """Write an equation of its own line."""
    equation = latex2mathml.tex2mathml(node.astext(), as_block=True)
    translator.body.append(f'<div class="equation">{equation}</div>')
    raise SkipNode


html_math_renderer = "mathml"


def setup(app):
    """Register what this file adds to Sphinx."""
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
