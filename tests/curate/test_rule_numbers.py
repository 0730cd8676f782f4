"""Each number of the published rules holds to the last word, line or character, and is the published one."""

from __future__ import annotations

from typing import Any

import pytest

from ramify.curate.rules import C4, FineWeb, GopherQuality, GopherRepetition
from ramify.curate.verdict import Verdict

STOP = "the and"  # two of Gopher's stop words
NONE: dict[str, Any] = {"top": (), "all_repeated": ()}
ALL = {"paragraphs": 1, "paragraph_characters": 1, "lines": 1, "line_characters": 1}
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def name_of(number: int) -> str:
    """Return a word of four letters that no other number has."""
    return "".join(LETTERS[number // 26**at % 26] for at in (3, 2, 1, 0))


def words(count: int, length: int = 4) -> str:
    """Return the two stop words and further ones: `count` in all, those of one length."""
    return " ".join([STOP, *["w" * length] * (count - 2)])


def filled(said: str, characters: int) -> str:
    """Return a text of so many characters that goes on with words that are there once."""
    more = " ".join(name_of(number) for number in range(characters // 5 + 1))
    return f"{said} {more}"[: characters - 1] + "!"


def phrases(n: int, times: int, characters: int) -> str:
    """Return a phrase of `n` words of two letters `times` times, a word of its own behind each."""
    phrase = " ".join(LETTERS[at] * 2 for at in range(n))
    return filled(" ".join(f"{phrase} Q{name_of(at)}" for at in range(times)), characters)


# rule, what it keeps, what it drops: at the number itself, and one word, line or character beyond it
GOPHER = [
    (GopherQuality(), words(50), words(49)),
    (GopherQuality(), words(100_000), words(100_001)),
    (GopherQuality(), words(60, 3), words(59, 3) + " ww"),  # 3 characters a word
    (GopherQuality(), f"{words(48, 10)} {'w' * 17} {'w' * 17}", f"{words(49, 10)} {'w' * 40}"),
    (GopherQuality(), "# " * 6 + words(54), "# " * 6 + words(53)),  # 0.1 a word
    (GopherQuality(), "... " * 6 + words(54), "... " * 6 + words(53)),
    (GopherQuality(), "… " * 6 + words(54), "… " * 6 + words(53)),
    (GopherQuality(), words(80) + " 12" * 20, words(79) + " 12" * 21),  # 0.8 with a letter
    (GopherQuality(), words(50), words(50).replace("and", "the")),  # two different stop words
    (GopherQuality(), "\n".join(["- " + words(6)] * 9 + [words(6)]), "\n".join(["• " + words(6)] * 10)),
    (GopherQuality(), "\n".join([words(9) + "..."] * 3 + [words(9)] * 7), "\n".join([words(9) + "…"] * 4 + [words(9)] * 6)),
]  # fmt: skip


def parted(same: int, of: int, by: str) -> str:
    """Return `of` pieces, `same` of which repeat the first."""
    return by.join(["once"] * (same + 1) + [name_of(at) for at in range(of - same - 1)])


def only(**fields: Any) -> GopherRepetition:
    """Return the rule with one number as it is by default, and all others off."""
    published = GopherRepetition()
    off = {**ALL, **NONE}
    return GopherRepetition(**{**off, **{key: getattr(published, key) for key in fields}})


def of_n(kind: str, n: int) -> GopherRepetition:
    """Return the rule with its number for phrases of n words alone."""
    pairs = tuple(pair for pair in getattr(GopherRepetition(), kind) if pair[0] == n)
    return GopherRepetition(**{**ALL, **NONE, kind: pairs})


REPEATED = "x" * 20
REPETITION = [
    (only(lines=0), parted(3, 10, "\n"), parted(4, 10, "\n")),
    (only(paragraphs=0), parted(3, 10, "\n\n"), parted(4, 10, "\n\n")),
    (only(line_characters=0), filled(f"{REPEATED}\n{REPEATED}\n", 100), filled(f"{REPEATED}\n{REPEATED}\n", 99)),
    (only(paragraph_characters=0), filled(f"{REPEATED}\n\n{REPEATED}\n\n", 100), filled(f"{REPEATED}\n\n{REPEATED}\n\n", 99)),
]  # fmt: skip
# n words, how often the phrase is there, characters at which it has the published share of them
TOP = [(2, 4, 100), (3, 9, 400), (4, 4, 275)]  # 0.20, 0.18, 0.16
PHRASES = [(5, 4, 200), (6, 8, 600), (7, 14, 1400), (8, 4, 400), (9, 12, 1800), (10, 2, 200)]
# 0.15, 0.14, 0.13, 0.12, 0.11, 0.10
REPETITION += [
    (of_n(kind, n), phrases(n, times, size), phrases(n, times, size - 1))
    for kind, rows in (("top", TOP), ("all_repeated", PHRASES))
    for n, times, size in rows
]

WRITTEN = C4(least_words=5, least_sentences=3)  # as the paper has it, and its own code
FIVE = "One two three. " * 5
C4_RULES = [
    (C4(), FIVE, "One two three. " * 4),
    (C4(), "One two three.\n" * 5, "One two three.\n" * 4 + "One two.\n"),
    (C4(), FIVE + "w" * 999 + ".", FIVE + "w" * 1000 + "."),  # with its stop: 1,000 and 1,001
    *[(C4(), f"One two three{end}\n" * 5, f"One two three{end}...\n" * 5) for end in ".!?\"'"],
    *[(C4(), FIVE, f"One two three{end}\n" * 5) for end in ",;:"],
    (WRITTEN, "One two three four five.\n" * 3, "One two three four five.\n" * 2),
    (WRITTEN, "One two three four five.\n" * 3, "One two three four.\n" * 3),
    (C4(), FIVE, FIVE + "Lorem Ipsum dolor."),
    (C4(), FIVE, FIVE + "So { it is."),
    (C4(), FIVE, "It uses JavaScript here. " * 5),
    *[
        (C4(), FIVE, f"See our {policy} here. " * 5)
        for policy in (
            "Terms of Use",
            "privacy policy",
            "cookie policy",
            "uses cookies",
            "use of cookies",
            "use cookies",
        )
    ],
]

OFF = {"least_punctuated": 0, "most_short": 1, "most_repeated": 1, "most_lines": 99}


def web(**fields: Any) -> FineWeb:
    """Return the rule with one number as it is by default, and all others off."""
    return FineWeb(**{**OFF, **{key: getattr(FineWeb(), key) for key in fields}})


def lines(count: int, ending: int, length: int = 40) -> str:
    """Return lines of so many characters, none twice, of which so many end a sentence."""
    rows = [name_of(at) + "w" * (length - 5) for at in range(count)]
    return "\n".join(row + (":."[at < ending]) for at, row in enumerate(rows))


FINEWEB = [
    (web(least_punctuated=0), lines(25, 3), lines(25, 2)),
    (web(most_short=0), lines(67, 0, 30) + "\n" + lines(33, 0, 31), lines(68, 0, 30) + "\n" + lines(32, 0, 31)),
    (web(most_repeated=0), filled(f"{'x' * 40}\n{'x' * 40}\n", 4002), filled(f"{'x' * 40}\n{'x' * 40}\n", 4001)),
    (web(most_lines=0), "a b c d\ne f g\nh i\nj", "a b c\nd e f\ng h\ni\nj"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("rule", "kept", "dropped"), [*GOPHER, *REPETITION, *C4_RULES, *FINEWEB], ids=lambda value: ""
)
def test_what_is_at_a_number_stays_and_what_is_beyond_it_goes(
    rule: Verdict, kept: str, dropped: str
) -> None:
    assert rule.verdict(kept) is None
    assert rule.verdict(dropped) is not None
