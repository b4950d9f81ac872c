"""Paper for stories: headings, paragraphs, ticks, tables and a progress bar; in colour on a terminal, else plain."""

import os
import shutil
import sys
import textwrap
import time
from collections.abc import Sequence
from typing import NamedTuple, TextIO

WIDTH = 88
BAR = 32
REDRAW = 0.05
"""Seconds between two pictures of the progress bar."""
STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}
MARKS = {"✓": "green", "✗": "red", "←": "yellow", "…": "yellow"}
"""How the line of a step begins: done, refused, taken back, tried again."""
PLAIN = str.maketrans({"✓": "+", "✗": "x", "←": "<", "→": ">", "…": ".", "─": "-", "█": "#", "░": "."})
"""For terminals and pipes that can't write more than ASCII."""


class StepLine(NamedTuple):
    """What became of one step of a saga, as :meth:`Page.step` writes it."""

    mark: str
    step: str
    text: str


class Page:
    """Writes to ``out``, or nowhere at all when it is None."""

    def __init__(self, out: TextIO | None) -> None:
        self._out = out
        self._colour = out is not None and in_colour(out)
        self._unicode = out is None or writes_unicode(out)
        self._width = min(WIDTH, shutil.get_terminal_size((WIDTH, 24)).columns)
        self._last = ""
        """What sort of thing was written last."""

    def title(self, text: str) -> None:
        """Write the heading of it all."""
        self._last = "heading"
        self._line(text, "bold", "cyan")
        self._line("─" * len(text), "cyan")

    def scene(self, text: str) -> None:
        """Write the heading of a part."""
        self._apart("heading")
        self._line(text, "bold")

    def say(self, text: str) -> None:
        """Write a paragraph."""
        self._paragraph(text)

    def note(self, text: str) -> None:
        """Write a paragraph that may be skipped by the reader."""
        self._paragraph(text, "dim")

    def step(self, mark: str, name: str, text: str, *, width: int = 8) -> None:
        """Write what became of a step; names stand in a column of this width."""
        self._apart("step")
        line = f"{self.style(mark, MARKS.get(mark, 'dim'))} {name:<{width}}{text}" if name else f"{mark} {text}"
        self._line(f"    {line}")

    def command(self, text: str) -> None:
        """Write something to be typed; it is never wrapped."""
        self._apart("command")
        self._line(f"    {text}", "cyan")

    def verdict(self, good: bool, text: str) -> None:
        """Write how it ended."""
        self._apart("verdict")
        mark, colour = ("✓", "green") if good else ("✗", "red")
        self._line(f"  {self.style(mark, colour)} {self.style(text, 'bold')}")

    def figure(self, name: str, value: str, note: str = "") -> None:
        """Write a number with its name."""
        self._apart("figure")
        self._line(f"  {name:<16}{value:>12}" + (f"   {self.style(note, 'dim')}" if note else ""))

    def table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Write a table; its first column is one of numbers."""
        self._apart("table")
        widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
        indent = "    " if 4 + sum(widths) + 2 * len(widths) <= self._width else "  "
        for number, row in enumerate((head, *rows)):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            cells[0] = row[0].rjust(widths[0])
            self._line((indent + "  ".join(cells)).rstrip(), *([] if number else ["dim"]))

    def style(self, text: str, *styles: str) -> str:
        """Return the text in these styles, where there is colour."""
        if not self._colour or not styles:
            return text
        return f"\033[{';'.join(STYLES[style] for style in styles)}m{text}\033[0m"

    def _apart(self, kind: str) -> None:
        """Leave a line free, but not below a heading, nor between steps, figures and the like."""
        if self._last not in ("", "heading") and (kind != self._last or kind == "text"):
            self._line()
        self._last = kind

    def _paragraph(self, text: str, *styles: str) -> None:
        self._apart("text")
        for line in textwrap.wrap(text, self._width, initial_indent="  ", subsequent_indent="  "):
            self._line(line, *styles)

    def _line(self, text: str = "", *styles: str) -> None:
        if self._out is not None:
            line = self.style(text, *styles) if text else ""
            print(line if self._unicode else line.translate(PLAIN), file=self._out, flush=True)


class Progress:
    """A bar that fills, on a terminal; on anything else, silence."""

    def __init__(self, total: int, noun: str, out: TextIO = sys.stderr) -> None:
        self._total = total
        self._noun = noun
        self._out = out if out.isatty() and total else None
        self._fill = "█░" if writes_unicode(out) else "#."
        self._next = 0.0
        self._drawn = 0

    def show(self, done: int) -> None:
        """Show how far it is."""
        now = time.monotonic()
        if self._out is not None and (now >= self._next or done == self._total):
            self._next = now + REDRAW
            full = BAR * done // self._total
            text = f"  {self._fill[0] * full}{self._fill[1] * (BAR - full)} {done:,} of {self._total:,} {self._noun}"
            self._drawn = len(text)
            self._write(text)

    def clear(self) -> None:
        """Take the bar away."""
        if self._drawn:
            self._write(" " * self._drawn)
            self._write("")

    def _write(self, text: str) -> None:
        if self._out is not None:
            self._out.write(f"\r{text}")
            self._out.flush()


def in_colour(out: TextIO) -> bool:
    """Say whether colour is wanted there (see no-color.org)."""
    return out.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def writes_unicode(out: TextIO) -> bool:
    """Say whether ticks and arrows can be written there."""
    try:
        "".join(map(chr, PLAIN)).encode(out.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True
