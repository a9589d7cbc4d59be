"""The colours of a drawing, light and dark, and its style sheet.

Marks have classes and no colours. A drawing of theme "auto" is dark where the page
around it is: by the browser's wish (`prefers-color-scheme`), which an SVG shown as an
image follows too, or by the theme of a notebook. None of it needs ids or scripts, so
that many drawings can stand in one page.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

THEMES = ("auto", "light", "dark")

# family: (fill, border)
COLOURS = {
    "data": ("#e3e8ee", "#66788c"),
    "convolution": ("#cfe2fb", "#2f6fc2"),
    "dense": ("#cdeee6", "#17826b"),
    "pooling": ("#fbdccb", "#c4581f"),
    "normalization": ("#e6daf8", "#7446b5"),
    "activation": ("#fdf2c4", "#a8850a"),
    "joining": ("#dbf0cf", "#4d8a24"),
    "loss": ("#fad2d8", "#bf2b44"),
    "output": ("#f9d9ee", "#a8377f"),
    "other": ("#ececec", "#707070"),
    "unknown": ("#ffffff", "#222222"),
}
_DARK_COLOURS = {
    "data": ("#2c3540", "#8fa1b5"),
    "convolution": ("#1c3558", "#6ea8ef"),
    "dense": ("#123f39", "#4cc3a8"),
    "pooling": ("#4b2c1a", "#eb915f"),
    "normalization": ("#372a52", "#b291e6"),
    "activation": ("#41380f", "#d6b53c"),
    "joining": ("#27401a", "#8cc463"),
    "loss": ("#4c1f28", "#ef7d91"),
    "output": ("#46203a", "#e381bd"),
    "other": ("#33383e", "#a3a9b0"),
    "unknown": ("#171c23", "#e2e7ee"),
}
_INK = {
    "text": "fill:#1c2430",
    ".s": "fill:#566374",
    ".e": "fill:#8f0f1c",
    ".g": "fill:#5b6878",
    ".l": "stroke:#5d6b7a",
    ".arrow": "fill:#5d6b7a",
    ".m": "stroke:#c6ced9",
    ".m0": "fill:#f4f6f9",
    ".m1": "fill:#e9edf3",
    ".c": "fill:#eef2f7;stroke:#4a5a6e;stroke-width:1.3",
    ".k-module": "fill:#4a5a6e",
    ".wrong": "fill:#ffd9d9",
    ".b-wrong": "stroke:#d11a2a",
    ".wrong-border": "stroke:#d11a2a",
    ".p": "fill:#fff",
    ".back": "fill:#fff",
}
_DARK_INK = {
    "text": "fill:#e2e7ee",
    ".s": "fill:#9aa7b5",
    ".e": "fill:#ff9aa5",
    ".g": "fill:#b9c3cf",
    ".l": "stroke:#7f8d9c",
    ".arrow": "fill:#7f8d9c",
    ".m": "stroke:#46525f",
    ".m0": "fill:#1f2630",
    ".m1": "fill:#28313c",
    ".c": "fill:#252e3a;stroke:#93a4b8",
    ".k-module": "fill:#93a4b8",
    ".wrong": "fill:#4c1f28",
    ".b-wrong": "stroke:#ff6b7a",
    ".wrong-border": "stroke:#ff6b7a",
    ".p": "fill:#10151b",
    ".back": "fill:#171c23",
}
_NOTEBOOKS = ':is([data-jp-theme-light="false"],.vscode-dark)'


def colour_rules(families: Collection[str], theme: str) -> str:
    """Return the style rules of the colours of these families and of all other marks.

    They are for what has the classes `netspec` and `netspec-THEME`.
    """
    light = _rules(".netspec", _INK, COLOURS, families)
    if theme == "light":
        return "".join(light)

    def dark(around: str) -> str:
        return "".join(_rules(around, _DARK_INK, _DARK_COLOURS, families))

    if theme == "dark":
        return "".join(light) + dark(".netspec-dark")
    return (
        "".join(light)
        + f"@media (prefers-color-scheme:dark){{{dark('.netspec-auto')}}}"
        + dark(f"{_NOTEBOOKS} .netspec-auto")
    )


def _rules(
    around: str,
    ink: dict[str, str],
    colours: dict[str, tuple[str, str]],
    families: Collection[str],
) -> Iterator[str]:
    for selector, value in ink.items():
        yield f"{around} {selector}{{{value}}}"
    for family, (fill, border) in colours.items():
        if family in families:
            yield f"{around} .f-{family}{{fill:{fill}}}"
            yield f"{around} .b-{family}{{stroke:{border}}}"
            yield f"{around} .k-{family}{{fill:{border}}}"
