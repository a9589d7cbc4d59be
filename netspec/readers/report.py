"""What was found in a net for one reader, and what was done about it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from netspec.readers.reader import Reader


@dataclass(frozen=True)
class Finding:
    """One thing in a net that a reader does not get right.

    layer: as messages name it; "" for the whole net. rule: the row of the table.
    action: "rewritten" where something equal was written, "warned" where the numbers
    may be wrong, "refused" where they would be or the reader does not take it. text:
    what it is, and what was or can be done.
    """

    layer: str
    rule: str
    action: Literal["rewritten", "warned", "refused"]
    text: str

    def __str__(self) -> str:
        return f"{self.layer}: {self.text}" if self.layer else self.text


@dataclass
class Report:
    """All findings for one reader."""

    reader: Reader
    findings: list[Finding] = field(default_factory=list)

    def of(self, action: str) -> list[Finding]:
        """Return the findings with one action."""
        return [finding for finding in self.findings if finding.action == action]

    @property
    def refused(self) -> list[Finding]:
        """What the reader would compute wrongly or not take."""
        return self.of("refused")

    @property
    def warned(self) -> list[Finding]:
        """What it may compute wrongly."""
        return self.of("warned")

    @property
    def rewritten(self) -> list[Finding]:
        """What is written in another, equal form."""
        return self.of("rewritten")

    def __str__(self) -> str:
        if not self.findings:
            return f"for {self.reader}: nothing to change"
        lines = [f"for {self.reader}:"]
        lines += [f"  {each.action:<10} {each}" for each in self.findings]
        return "\n".join(lines)
