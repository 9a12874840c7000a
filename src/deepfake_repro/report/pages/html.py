"""One self-contained HTML page: no script, no network, readable on a phone and on paper."""

from __future__ import annotations

import base64
import html
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

from jinja2 import Environment, StrictUndefined, Template
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

MEDIA_TYPES = {".svg": "image/svg+xml", ".png": "image/png", ".jpg": "image/jpeg"}
STYLE = """
:root {
  color-scheme: light dark;
  --text: #1a1a1a;
  --quiet: #555;
  --link: #0050a0;
  --strong-line: #888;
  --line: #ddd;
  --page: #fff;
  font: 16px/1.5 system-ui, sans-serif;
  color: var(--text);
  background: var(--page);
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --text: #e8e8e8;
    --quiet: #b0b0b0;
    --link: #8ab8ff;
    --strong-line: #777;
    --line: #3a3a3a;
    --page: #16181a;
  }
}
body {
  margin: 0 auto;
  padding: 1rem;
  max-width: 75rem;
  overflow-wrap: break-word;
}
h1 { line-height: 1.2; }
h2 { margin-top: 3rem; border-bottom: 1px solid var(--strong-line); }
h1, h2, h3 { break-after: avoid; }
p, li { max-width: 45rem; }
a { color: var(--link); }
code { font-size: .9em; }
nav ul { columns: 16rem; padding-left: 1.2rem; }
figure { margin: 1rem 0; break-inside: avoid; }
img { max-width: 100%; height: auto; }
figcaption { color: var(--quiet); }
.table { overflow-x: auto; margin: 1rem 0; }
.table:focus { outline: 2px solid var(--link); }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; }
th, td {
  padding: .25rem .35rem;
  border-bottom: 1px solid var(--line);
  vertical-align: top;
  overflow-wrap: normal;
}
th { border-bottom: 2px solid var(--strong-line); text-align: left; }
th:first-child, td:first-child {
  position: sticky;
  left: 0;
  background: var(--page);
  min-width: 5rem;
  max-width: 45vw;
  overflow-wrap: break-word;
}
td.long { min-width: 12rem; }
td:not([style]) :is(a, code) { overflow-wrap: anywhere; }
td[style*="right"] { white-space: nowrap; }
img { background: #fff; }
@media (max-width: 40rem) {
  :root { font-size: 15px; }
  body { padding: .6rem; }
  h2 { margin-top: 2rem; }
}
@media print {
  @page { size: A4 landscape; margin: 12mm; }
  :root { font-size: 10pt; }
  body { max-width: none; padding: 0; }
  nav { display: none; }
  a { color: inherit; }
  .table { overflow: visible; }
  table { font-size: 6.5pt; width: 100%; }
  tr { break-inside: avoid; }
  th, td { padding: .1rem .15rem; }
  th, td.long { overflow-wrap: anywhere; }
  thead { display: table-header-group; }
  th:first-child, td:first-child { position: static; min-width: 0; }
  td.long { min-width: 0; }
  img { max-height: 160mm; }
}
"""
_HEAD = 8000
"""Characters of an SVG that contain its description."""
_FOLD = re.compile(r"<p>&lt;details&gt;&lt;summary&gt;([^\n]*?)&lt;/summary&gt;</p>")
_FOLD_END = "<p>&lt;/details&gt;</p>"
LONG = 60
"""A cell with more characters is prose and gets a wide column."""


_PAGE = """\
<!doctype html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{% if policy %}
<meta http-equiv="Content-Security-Policy" content="{{ policy }}">
{% endif %}
<link rel="icon" href="data:,">
<title>{{ title }}</title>
<style>{{ style }}</style>
</head>
<body>
{{ body }}
</body>
</html>
"""
_FIGURE = """\
<figure><img src="{{ source }}" alt="{{ alternative }}"><figcaption>{{ caption }}</figcaption>\
</figure>"""


@lru_cache
def _template(source: str) -> Template:
    environment = Environment(
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
    )
    return environment.from_string(source)


def render(template: str, **values: object) -> Markup:
    """Fill a Jinja template; every value that is not ``Markup`` is escaped.

    Templates are constants of modules, so that a stage's code digest covers them.
    """
    return Markup(_template(template).render(**values))


def page(title: str, body: str, style: str = STYLE, policy: str = "") -> str:
    """Build a whole page with ``title`` (plain text) around ``body`` (HTML).

    ``style``: its CSS; ``policy``: its content security policy, what a browser may load.
    """
    return str(
        render(_PAGE, title=title, body=Markup(body), style=Markup(style), policy=Markup(policy))
    )


def data_uri(file: Path) -> str:
    """Encode an image file as a ``data:`` URI; ``ValueError`` for an unknown suffix."""
    if file.suffix not in MEDIA_TYPES:
        raise ValueError(
            f"{file.name} is not an image for a page: give one of {', '.join(MEDIA_TYPES)}"
        )
    content = base64.b64encode(file.read_bytes()).decode()
    return f"data:{MEDIA_TYPES[file.suffix]};base64,{content}"


def figure(file: Path, caption: str) -> Markup:
    """Embed an image in the page; its alternative text is the drawing's own, else the caption."""
    return render(
        _FIGURE,
        source=data_uri(file),
        alternative=description(file) or caption,
        caption=caption,
    )


def description(file: Path) -> str:
    """Return title and description of an SVG in one text; empty if it has none."""
    if file.suffix != ".svg":
        return ""
    head = file.read_text(encoding="utf-8")[:_HEAD]
    words = (re.search(rf"<{tag}>(.*?)</{tag}>", head, flags=re.S) for tag in ("title", "desc"))
    return html.unescape(". ".join(found[1] for found in words if found))


def render_markdown(markdown: str, label: str) -> str:
    """Render Markdown (CommonMark and tables) as HTML.

    HTML inside the Markdown is shown as text, except ``<br>`` and ``<details><summary>`` on a line
    of its own. Headings are moved one level down,
    below those of the page and its sections; a leading level-1 heading is dropped, because the
    section has its own title. Links to files beside the page become plain text, because the page is
    read alone. Tables scroll on their own; ``label`` names them for screen readers.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(markdown)
    if tokens and tokens[0].tag == "h1":
        tokens = tokens[3:]
    for token in tokens:
        if token.type.startswith("heading"):
            token.tag = f"h{min(6, int(token.tag[1]) + 1)}"
        token.children = list(_without_local_links(token.children or []))
    for cell, content in itertools.pairwise(tokens):
        if cell.type == "td_open" and len(content.content) > LONG:
            cell.attrJoin("class", "long")
    tokens = list(_spanning(tokens))
    parser.add_render_rule("table_open", _table_open(html.escape(label)))
    parser.add_render_rule("table_close", lambda *_: "</table></div>\n")
    page = parser.renderer.render(tokens, parser.options, {}).replace("&lt;br&gt;", "<br>")
    return _FOLD.sub(r"<details><summary>\1</summary>", page).replace(_FOLD_END, "</details>")


def _spanning(tokens: Sequence[Token]) -> Iterator[Token]:
    """Let a column heading span the empty ones after it, which Markdown cannot express."""
    heading = None
    skipped = 0
    for number, token in enumerate(tokens):
        if token.type == "th_open":
            if tokens[number + 1].content:
                heading = token
            elif heading:
                heading.attrSet("colspan", str(int(heading.attrGet("colspan") or 1) + 1))
                heading.attrSet("style", "text-align:left")
                skipped = 3  # the cell's opening, its text and its end
        elif token.type == "tr_close":
            heading = None
        if skipped:
            skipped -= 1
        else:
            yield token


def _without_local_links(children: Sequence[Token]) -> Iterator[Token]:
    local = False
    for child in children:
        if child.type == "link_open":
            local = "://" not in str(child.attrGet("href"))
        if not (local and child.type in ("link_open", "link_close")):
            yield child


def _table_open(label: str) -> Callable[..., str]:
    opening = f'<div class="table" role="region" tabindex="0" aria-label="{label}"><table>'
    return lambda *_: opening
