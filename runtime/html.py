"""Pieces of HTML that notebooks show: tables in the colours of the page, no scripts.

Text has the colour of what is around it, backgrounds are transparent and lines are
grey with some transparency, so that light and dark pages need no rules of their own.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from html import escape
from typing import Any

KIND = "netspec-out"  # the class of all that is shown
STYLE = f"""
.{KIND} {{ font-size: 0.9em; line-height: 1.4; }}
.{KIND} table {{ border-collapse: collapse; margin: 0.3em 0; border: 0;
  font-size: inherit; }}
.{KIND} tr, .{KIND} tbody tr:nth-child(odd) {{ background: transparent; }}
.{KIND} th, .{KIND} td {{ padding: 0.1em 0.9em 0.1em 0; border: 0; text-align: left;
  border-bottom: 1px solid rgba(128, 128, 128, 0.3); vertical-align: top; }}
.{KIND} .number {{ text-align: right; font-variant-numeric: tabular-nums; }}
.{KIND} .faint {{ opacity: 0.7; }}
.{KIND} summary {{ cursor: pointer; }}
"""


class Markup(str):
    """Text that is HTML already, and is not escaped again."""

    __slots__ = ()


def output(*parts: str) -> str:
    """Return parts of HTML as one piece to show, with the style of its tables."""
    return f'<div class="{KIND}"><style>{STYLE}</style>{"".join(parts)}</div>'


def table(
    heads: Sequence[str], rows: Sequence[Sequence[Any]], numbers: Collection[int] = ()
) -> Markup:
    """Return a table; cells are escaped unless they are `Markup`.

    numbers: the places of the columns that are flush right.
    """
    head = "".join(_cell("th", text, n in numbers) for n, text in enumerate(heads))
    body = "".join(
        f"<tr>{''.join(_cell('td', text, n in numbers) for n, text in enumerate(row))}"
        f"</tr>"
        for row in rows
    )
    above = f"<thead><tr>{head}</tr></thead>" if heads else ""
    return Markup(f"<table>{above}<tbody>{body}</tbody></table>")


def line(text: str, kind: str = "") -> Markup:
    """Return a line of text, escaped unless it is `Markup`."""
    mark = f' class="{kind}"' if kind else ""
    return Markup(f"<div{mark}>{escaped(text)}</div>")


def closed(summary: str, inside: str, *, is_open: bool = False) -> Markup:
    """Return something that opens on a click on `summary`."""
    mark = " open" if is_open else ""
    return Markup(
        f"<details{mark}><summary>{escaped(summary)}</summary>{inside}</details>"
    )


def escaped(text: Any) -> str:
    """Return text as HTML."""
    return text if isinstance(text, Markup) else escape(str(text))


def _cell(tag: str, text: Any, number: bool) -> str:
    mark = ' class="number"' if number else ""
    return f"<{tag}{mark}>{escaped(text)}</{tag}>"
