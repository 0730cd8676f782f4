"""What every filter is: thresholds, a verdict on a text, and for a few the text as they leave it."""

from __future__ import annotations

import re

from pydantic import BaseModel, ConfigDict

FENCED = re.compile(r"(?m)^(`{3,})[^\n]*\n.*?^\1[ \t]*$", re.DOTALL)
FORMULA = re.compile(
    r"\$\$.+?\$\$|(?<![\\$])\$(?! )[^$\n]{1,2000}?(?<![\\ ])\$(?!\d)|\\\(.+?\\\)|\\\[.+?\\\]",
    re.DOTALL,
)


class Verdict(BaseModel):
    """What every filter is: thresholds, and nothing that changes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def verdict(self, text: str) -> str | None:
        """Return what is wrong with a text, or None."""
        return self.applied(text)[1]

    def applied(self, text: str) -> tuple[str, str | None]:
        """Return the text as this filter leaves it, and what is wrong with it, or None."""
        return text, self.verdict(text)


def without_formulas_and_code(text: str) -> str:
    """Return the words of a text: formulas between dollars and fenced code become spaces."""
    return FORMULA.sub(" ", FENCED.sub(" ", text))
