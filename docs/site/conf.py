"""The documentation site: `sphinx-build -W -c docs/site . site`, with the packages of the extra `docs`.

The source folder is the repository, so that README.md, docs/ and spec/ are pages where
they are and the links between them work here and there. Needs no network.
"""
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

from refcodec import __version__  # noqa: E402

project = "refcodec"
release = version = __version__
author = "the refcodec authors"
language = "en_GB"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx_click", "rfv"]
include_patterns = ["README.md", "docs/*.md", "spec/*.md", "conformance/README.md", "demo/fox/LICENSE.md",
                    "refcodec/view/web/README.md"]
exclude_patterns = [".venv", "site"]
root_doc = "README"

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3
default_role = "code"
nitpicky = False
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True, "exclude-members": "__init__, __new__"}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100

html_theme = "furo"
html_title = "refcodec and RFV"
html_copy_source = False
html_show_sphinx = False
html_additional_pages = {"index": "redirect.html"}  # the first page is README.html, as in the repository
templates_path = ["templates"]
html_theme_options = {"sidebar_hide_name": False}
