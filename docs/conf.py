"""Sphinx configuration: Markdown pages, NumPy docstrings."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from reference import write_pages  # noqa: E402

write_pages(HERE / "api")

project = "tinynn"
author = "The tinynn developers"
copyright = "2026, The tinynn developers"
release = version = installed_version("tinynn")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
exclude_patterns = ["_build"]
# Two classes of one name, such as a plan's row `Call` and the work that it does, are told apart by their modules.
suppress_warnings = ["ref.python"]

html_theme = "furo"
html_title = "tinynn"

myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist"]
myst_heading_anchors = 3

# Members in the order of the source: that is the order in which they are meant to be read.
# A name is documented where it is defined, not again where it is re-exported.
autodoc_default_options = {
    "member-order": "bysource",
    "show-inheritance": True,
    "ignore-module-all": True,
}
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
autodoc_mock_imports = ["cupy", "cupyx"]
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False


def _formulas_as_written(app, what, name, obj, options, lines):
    """Show the docstrings of operations as they are, line by line: they are formulas.

    Elsewhere a vertical bar is an absolute value, and not reStructuredText's mark of a substitution.
    """
    from tinynn.ops.base import Op

    if isinstance(obj, type) and issubclass(obj, Op):
        lines[:] = ["::", "", *(f"    {line}" for line in lines), ""]
        return
    for i, line in enumerate(lines):
        pieces = line.split("``")
        pieces[::2] = [piece.replace("|", "\\|") for piece in pieces[::2]]
        lines[i] = "``".join(pieces)


def _without_requests(app, what, name, obj, skip, options):
    """Leave out the methods for metadata routing, which scikit-learn adds to every estimator."""
    return True if name.endswith("_request") else None


def setup(app):
    app.connect("autodoc-skip-member", _without_requests)
    # Before napoleon (priority 500) turns sections into reStructuredText.
    app.connect("autodoc-process-docstring", _formulas_as_written, priority=400)
