"""Notebooks as pages that need no other file and no network, and an index of them."""

from __future__ import annotations

import base64
import html
import io
import json
import re
from collections.abc import Iterable, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from helpers.profiles import REPOSITORY
from tools.course.execute import WIDGET_VIEW
from tools.course.translations import LANGUAGES, folder_of, readme_name

if TYPE_CHECKING:
    from nbformat import NotebookNode

INDEX = "index.html"
TRY = "try"
"""Folder, beside the pages, of the one on which visitors try the models."""
TRY_TEXTS = Path(__file__).parent / "try" / "texts.json"
"""Its words: language to key to text."""
THUMBNAIL = (300, 170)
"""Width and height that the index's figures fit into, pixels."""

# Nothing in a page waits for a network: figures are embedded, and MathJax may come or not.
_PAGE_TEMPLATE = """{% extends 'lab/index.html.j2' %}
{%- block html_head_js_requirejs -%}{%- endblock -%}
{%- block html_head_js_mermaidjs -%}{%- endblock -%}
{%- block html_head_js_mathjax -%}
{{ super() | replace("<script src", "<script async src") }}
{%- endblock -%}
{%- block html_head_css -%}
<style>
.jp-MarkdownOutput .highlight { margin-bottom: 1em }
:lang(ja) { line-break: strict }
</style>
{%- endblock -%}"""

# A page links to pages, as a notebook links to its neighbours, the glossary and other languages.
_LINK_TO_A_SOURCE = re.compile(
    r'(<a href="(?:\.\./)?(?:[a-z]{2}/)?(?:\d\d_\w+|GLOSSARY))\.(?:ipynb|md)\b'
)
_DESCRIPTION = re.compile(r"\*Figure: (?P<en>.+)\*|\*\*[图図]\*\*\uff1a(?P<other>.+)")

_INDEX_PAGE = """<!doctype html>
<html lang="{tag}">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{title}</title>
<style>
body {{ font: 16px/1.45 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto;
       padding: 0 1rem }}
h1 {{ font-size: 1.6rem }}
ol {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(19rem, 1fr)); gap: 1rem;
     list-style: none; padding: 0 }}
li {{ border: 1px solid #ccc; border-radius: 6px; padding: 1rem }}
img {{ display: block; width: {width}px; height: {height}px; object-fit: contain; max-width: 100%;
      margin: 0 auto }}
h2 {{ font-size: 1.1rem; margin: .7rem 0 .3rem }}
p {{ margin: 0 }}
:lang(ja) {{ line-break: strict }}
</style>
</head>
<body>
<h1>{title}</h1>
<p>{languages}</p>
{trial}<ol>
{cards}
</ol>
<p>{others}</p>
</body>
</html>
"""
_CARD = """<li>{figure}
<h2><a href="{page}">{title}</a></h2>
<p>{sentence}</p></li>"""


def write_page(notebook: NotebookNode, path: Path, language: str = "en") -> None:
    """Write an executed notebook as one HTML file that needs no other file and no network."""
    from jinja2 import DictLoader
    from nbconvert import HTMLExporter

    loader = DictLoader({"page.html.j2": _PAGE_TEMPLATE})
    # Without `embed_images`, which would close each <details> before its answer; figures are
    # embedded all the same, as the outputs that they are.
    exporter = HTMLExporter(extra_loaders=[loader], template_file="page.html.j2")
    # A page has no kernel: show a widget's image and not its (empty) live view.
    live = (WIDGET_VIEW, "application/javascript")
    shown = exporter.default_config["NbConvertBase"]["display_data_priority"]
    exporter.config.NbConvertBase.display_data_priority = [m for m in shown if m not in live]
    metadata = {"name": _title(notebook) or path.stem, "path": str(REPOSITORY / "notebooks")}
    page, _ = exporter.from_notebook_node(notebook, resources={"metadata": metadata})
    # The exporter's own option takes two letters, which leave open which Chinese it is.
    page = page.replace('<html lang="en">', f'<html lang="{_tag(language)}">', 1)
    path.write_text(_LINK_TO_A_SOURCE.sub(r"\1.html", page), encoding="utf-8")


def write_markdown_page(source: Path, path: Path, language: str = "en") -> None:
    """Write a Markdown file, such as the glossary, as a page beside those of the notebooks."""
    from nbformat.v4 import new_markdown_cell, new_notebook

    text = source.read_text(encoding="utf-8")
    write_page(new_notebook(cells=[new_markdown_cell(text)]), path, language)


def write_index(
    notebooks: Mapping[str, NotebookNode],
    folder: Path,
    language: str = "en",
    others: Iterable[str] = (),
) -> Path:
    """Write a page that links the others: of each notebook its title, promise and first figure.

    Args:
        notebooks: stem of each page to its notebook, with outputs.
        folder: of the pages; other pages in it, such as the glossary's, are linked below, and the
            one to try models on, if it has been made, above.
        language: of the pages.
        others: the languages whose pages are linked too.
    """
    cards = []
    for stem, notebook in notebooks.items():
        opening = notebook.cells[0].source if notebook.cells else ""
        promise = re.search(r"^\w.+[.。]$", opening, flags=re.MULTILINE)
        figure = _thumbnail(notebook)
        cards.append(
            _CARD.format(
                page=f"{stem}.html",
                title=html.escape(_title(notebook) or stem),
                sentence=html.escape(promise[0].replace("`", "") if promise else ""),
                figure=f'<a href="{stem}.html">{figure}</a>' if figure else "",
            )
        )
    pages = sorted(folder.glob("*.html"))
    rest = [path for path in pages if path.stem not in {*notebooks, Path(INDEX).stem}]
    readme = (REPOSITORY / readme_name(language)).read_text(encoding="utf-8")
    up = "../" if folder_of(language) else ""
    links = {f"{up}{folder_of(other)}{INDEX}": LANGUAGES[other] for other in others}
    trial = ""
    if (folder / up / TRY / INDEX).is_file():  # made by another command, which needs a network
        title = json.loads(TRY_TEXTS.read_text(encoding="utf-8"))[language]["title"]
        trial = f'<p><a href="{up}{TRY}/{INDEX}?lang={language}">{title}</a></p>\n'
    width, height = THUMBNAIL
    page = _INDEX_PAGE.format(
        tag=_tag(language),
        title=html.escape(readme.partition("\n")[0].removeprefix("# ")),
        languages=_links(links),
        trial=trial,
        cards="\n".join(cards),
        others=_links({path.name: _title_of_page(path) for path in rest}),
        width=width,
        height=height,
    )
    index = folder / INDEX
    index.write_text(page, encoding="utf-8")
    return index


def _tag(language: str) -> str:
    """A language as browsers are told it: by it they choose the shapes of characters."""
    return "zh-Hans" if language == "zh" else language


def _title(notebook: NotebookNode) -> str:
    """The first heading of a notebook; "" if it does not begin with one."""
    opening = notebook.cells[0].source if notebook.cells else ""
    title = re.search(r"^# (.+)$", opening, flags=re.MULTILINE)
    return title[1].replace("`", "") if title else ""


def _title_of_page(path: Path) -> str:
    title = re.search("<title>(.*?)</title>", path.read_text(encoding="utf-8"))
    return title[1] if title else path.stem


def _links(links: Mapping[str, str]) -> str:
    return " · ".join(f'<a href="{target}">{text}</a>' for target, text in links.items())


def _thumbnail(notebook: NotebookNode) -> str:
    """A notebook's first figure as a small embedded image; "" if it has none."""
    for cell, following in zip_longest(notebook.cells, notebook.cells[1:]):
        for output in cell.get("outputs", []):
            if "image/png" not in output.get("data", {}):
                continue
            figure = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"])))
            figure = figure.convert("RGB")
            figure.thumbnail((2 * THUMBNAIL[0], 2 * THUMBNAIL[1]))  # sharp on fine screens too
            file = io.BytesIO()
            figure.quantize(128).save(file, "PNG", optimize=True)
            text = _DESCRIPTION.match(following.source if following else "")
            source = base64.b64encode(file.getvalue()).decode()
            described = html.escape(text["en"] or text["other"] if text else "")
            return f'<img alt="{described}" src="data:image/png;base64,{source}">'
    return ""
