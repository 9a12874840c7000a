"""Slides of an executed notebook: one HTML file without script that needs no network.

nbconvert groups the cells by their slide tags and renders them. In place of reveal.js, which its
own template fetches from the network, the browser scrolls from slide to slide by itself. Formulas
are MathML, which every browser draws. Pictures keep their alternative texts, which it would lose.
"""

from __future__ import annotations

from pathlib import Path

import nbformat
from docutils.utils.math.latex2mathml import tex2mathml
from nbconvert.exporters import SlidesExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

_STYLE = """
html { scroll-snap-type: y proximity; }
:root { --jp-ui-font-size1: 16px; --jp-ui-font-size0: 16px; --jp-code-font-size: 16px; }
body { margin: 0; background: #fff; color: #1a1a1a; counter-reset: slide; }
main { font-size: 1.15rem; line-height: 1.5; }
main > section { box-sizing: border-box; min-height: 100vh; padding: 4vh 6vw;
  scroll-snap-align: start; position: relative; counter-increment: slide; }
main > section + section { border-top: 1px solid #ccc; }
main > section::after { content: counter(slide); position: absolute; right: 2vw; bottom: 2vh;
  color: #6b6b6b; font-size: .9rem; }
.jp-Cell { padding: 0; }
.jp-RenderedHTMLCommon { font-size: 1em; }
.jp-OutputArea-output { overflow-x: auto; }
.jp-OutputArea-output img { max-height: 62vh; width: auto; }
@media print {
  @page { size: A4 landscape; margin: 12mm; }
  main > section { min-height: 0; padding: 0; border: 0; break-after: page; }
}
"""
_TEMPLATE = """\
{%- extends 'base.html.j2' -%}
{% block header %}<!doctype html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<link rel="icon" href="data:,">
<title>{{ resources.metadata.name }}</title>
{% for css in resources.inlining.css %}<style>{{ css }}</style>{% endfor %}
{{ resources.include_css("static/index.css") }}
{{ resources.include_css("static/theme-light.css") }}
<style>STYLE</style>
</head>
{% endblock header %}
{% block body_header %}<body data-jp-theme-light="true"><main>{% endblock body_header %}
{% block body_footer %}</main></body>{% endblock body_footer %}
{% block footer %}</html>{% endblock footer %}
{% block data_png scoped %}
<div class="jp-RenderedImage jp-OutputArea-output">
<img src="data:image/png;base64,{{ output.data['image/png'] | escape_html }}"
alt="{{ output | get_metadata('alt', 'image/png') | escape_html }}"
width="{{ output | get_metadata('width', 'image/png') }}">
</div>
{% endblock data_png %}
""".replace("STYLE", _STYLE)


class _Renderer(IPythonRenderer):
    """Markdown for a page that is read alone: formulas as MathML, local links as text."""

    def inline_math(self, body: str) -> str:
        return str(tex2mathml(body))

    def block_math(self, body: str) -> str:
        return str(tex2mathml(body, as_block=True))

    def link(self, text: str, url: str, title: str | None = None) -> str:
        return super().link(text, url, title) if "://" in url else text


def slides(notebook: nbformat.NotebookNode, title: str, code: bool = False) -> str:
    """Build the page of an executed notebook's slides; ``code`` shows the code cells too.

    A cell tagged ``slide`` begins a slide. Raises ``ValueError`` if no cell is.
    """
    types = [cell.metadata.get("slideshow", {}).get("slide_type") for cell in notebook.cells]
    if "slide" not in types:
        raise ValueError(f"{title} has no slides: 00, 04 and 07 have cells tagged as slides")
    exporter = SlidesExporter(
        raw_template=_TEMPLATE,
        exclude_input=not code,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )
    exporter.register_filter("markdown2html", _as_html)
    text, _ = exporter.from_notebook_node(notebook, resources={"metadata": {"name": title}})
    return text


def write_slides(sources: list[Path], folder: Path, code: bool = False) -> list[Path]:
    """Write ``<notebook>.slides.html`` of each executed notebook to ``folder``; return the paths.

    Raises ``FileNotFoundError`` for a missing notebook, ``ValueError`` for one without slides.
    """
    pages = {}
    for source in sources:
        if not source.is_file():
            raise FileNotFoundError(f"no notebook {source}: run make lessons, or dvc repro report")
        notebook = nbformat.read(source, as_version=4)
        pages[folder / f"{source.stem}.slides.html"] = slides(notebook, source.stem, code)
    folder.mkdir(parents=True, exist_ok=True)
    for target, text in pages.items():
        target.write_text(text, encoding="utf-8")
    return list(pages)


def _as_html(markdown: str) -> str:
    """Render the Markdown of a cell or of its output."""
    renderer = _Renderer(escape=False, exclude_anchor_links=True)
    return str(MarkdownWithMath(renderer=renderer).render(markdown))
