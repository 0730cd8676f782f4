"""MathML as LaTeX: what the author left is taken, the rest is converted, and nothing breaks it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("lxml")

from ramify.curate.mathml import latex_of, unwrapped


def math(inner: str) -> str | None:
    return latex_of(f'<math xmlns="http://www.w3.org/1998/Math/MathML">{inner}</math>')


@pytest.mark.parametrize(
    ("inner", "latex"),
    [
        ("<mfrac><mn>1</mn><mi>x</mi></mfrac>", r"\frac{1}{x}"),
        ("<msqrt><mi>a</mi><mo>+</mo><mi>b</mi></msqrt>", r"\sqrt{a+b}"),
        ("<mroot><mi>x</mi><mn>3</mn></mroot>", r"\sqrt[{3}]{x}"),
        ("<msubsup><mi>x</mi><mi>i</mi><mn>2</mn></msubsup>", "x_{i}^{2}"),
        ("<msup><mrow><mo>(</mo><mi>a</mi><mo>)</mo></mrow><mn>2</mn></msup>", "{(a)}^{2}"),
        ("<munderover><mo>∑</mo><mi>k</mi><mi>n</mi></munderover><mi>k</mi>", r"\sum_{k}^{n}k"),
        ("<mover><mi>v</mi><mo>→</mo></mover>", r"\vec{v}"),
        ("<mover><mrow><mi>A</mi><mi>B</mi></mrow><mo>→</mo></mover>", r"\overrightarrow{AB}"),
        ("<mi>sin</mi><mi>θ</mi>", r"\sin\theta"),
        ("<mi>α</mi><mi>b</mi>", r"\alpha b"),
        ("<mtext>50% &amp; more</mtext>", r"\text{50\% \& more}"),
        ("<mn>10,000</mn>", "10{,}000"),
        ("<mn>30</mn><mo>°</mo>", "30°"),
        ("<mo>&lt;</mo><mn>1</mn>", "<1"),
        ("<mi>f</mi><mo>&#x2061;</mo><mi>x</mi>", "fx"),
        ("<mtext>for&nbsp;x</mtext>", r"\text{for x}"),
        (
            "<mtable><mtr><mtd><mn>1</mn></mtd><mtd><mo>[</mo></mtd></mtr></mtable>",
            r"\begin{matrix} 1 & {[} \end{matrix}",
        ),
        ('<mfenced open="[" close=")"><mi>a</mi><mi>b</mi></mfenced>', r"\left[ a,b \right)"),
        ('<mfrac linethickness="0"><mi>n</mi><mi>k</mi></mfrac>', r"{n \atop k}"),
        (
            "<mmultiscripts><mi>C</mi><mprescripts/><mn>6</mn><mn>14</mn></mmultiscripts>",
            "{}_{6}^{14}C",
        ),
        ('<mi mathvariant="double-struck">R</mi>', r"\mathbb{R}"),
        ('<menclose notation="box"><mi>x</mi></menclose>', r"\boxed{x}"),
    ],
)
def test_presentation_mathml_is_written_as_latex(inner: str, latex: str) -> None:
    assert math(inner) == latex


def test_what_the_author_left_as_latex_goes_before_what_is_shown() -> None:
    shown = "<mrow><mi>wrong</mi></mrow>"
    note = '<annotation encoding="application/x-tex">{\\displaystyle x^2}</annotation>'
    assert math(f"<semantics>{shown}{note}</semantics>") == "x^2"
    assert latex_of(f'<math alttext="\\frac{{1}}{{2}}">{shown}</math>') == r"\frac{1}{2}"
    assert unwrapped(r"\[ a+b \]") == "a+b"


@given(st.text(alphabet="<>&;/mathrowifnbspmi ∑α{}\\$%#_^~x1", max_size=80))
@settings(max_examples=200, deadline=None)
def test_whatever_stands_in_it_the_braces_of_the_latex_are_balanced(text: str) -> None:
    latex = math(text)
    if latex is not None:
        plain = latex.replace("\\\\", "").replace("\\{", "").replace("\\}", "")
        assert plain.count("{") == plain.count("}")


def test_a_formula_of_a_hundred_thousand_nested_rows_is_its_text_at_once() -> None:
    assert math("<mrow>" * 250 + "<mi>x</mi>" + "</mrow>" * 250) in (r"\text{x}", "x")
    latex_of("<math>" + "<mrow>" * 100_000)
