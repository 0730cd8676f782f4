"""How characters of mathematics and of text are written in LaTeX.

A character that stands in no table is written as itself: engines of today take Unicode.
"""

from __future__ import annotations

_COMMANDS = """
α alpha β beta γ gamma δ delta ε varepsilon ϵ epsilon ζ zeta η eta θ theta ϑ vartheta ι iota κ kappa
λ lambda μ mu µ mu ν nu ξ xi π pi ϖ varpi ρ rho ϱ varrho σ sigma ς varsigma τ tau υ upsilon φ varphi
ϕ phi χ chi ψ psi ω omega Γ Gamma Δ Delta ∆ Delta Θ Theta Λ Lambda Ξ Xi Π Pi Σ Sigma Υ Upsilon
ϒ Upsilon Φ Phi Ψ Psi Ω Omega Ω Omega ∑ sum ∏ prod ∐ coprod ∫ int ∬ iint ∭ iiint ∮ oint ⋃ bigcup
⋂ bigcap ⨁ bigoplus ⨂ bigotimes ⋁ bigvee ⋀ bigwedge ⨆ bigsqcup √ surd × times ÷ div · cdot ⋅ cdot
± pm ∓ mp ∗ ast ⋆ star ∘ circ ∙ bullet • bullet ⊕ oplus ⊖ ominus ⊗ otimes ⊘ oslash ⊙ odot
∪ cup ∩ cap ∨ vee ∧ wedge ⊔ sqcup ⊓ sqcap ⊎ uplus ∖ setminus ≀ wr † dagger ‡ ddagger ⨿ amalg
≤ leq ≥ geq ⩽ leqslant ⩾ geqslant ≦ leqq ≧ geqq ≪ ll ≫ gg ≠ neq ≡ equiv ≢ not\\equiv ≈ approx
≉ not\\approx ≃ simeq ∼ sim ≁ nsim ≅ cong ≇ ncong ∝ propto ≐ doteq ≜ triangleq ≺ prec ≻ succ ⪯ preceq
⪰ succeq ≼ preccurlyeq ≽ succcurlyeq ⊂ subset ⊃ supset ⊆ subseteq ⊇ supseteq ⊄ not\\subset
⊈ nsubseteq ⊊ subsetneq ⊋ supsetneq ∈ in ∉ notin ∋ ni ⊢ vdash ⊣ dashv ⊨ models ⊥ perp ⟂ perp
∥ parallel ∦ nparallel ∣ mid ∤ nmid ⋈ bowtie ≍ asymp ⌣ smile ⌢ frown ≮ nless ≯ ngtr ≰ nleq ≱ ngeq
← leftarrow → rightarrow ↔ leftrightarrow ⇐ Leftarrow ⇒ Rightarrow ⇔ Leftrightarrow ↑ uparrow
↓ downarrow ↕ updownarrow ⇑ Uparrow ⇓ Downarrow ⇕ Updownarrow ↗ nearrow ↘ searrow ↙ swarrow ↖ nwarrow
↦ mapsto ⟼ longmapsto ⟵ longleftarrow ⟶ longrightarrow ⟷ longleftrightarrow ⟸ Longleftarrow
⟹ Longrightarrow ⟺ Longleftrightarrow ↩ hookleftarrow ↪ hookrightarrow ⇌ rightleftharpoons
↼ leftharpoonup ↽ leftharpoondown ⇀ rightharpoonup ⇁ rightharpoondown ↛ nrightarrow ⇏ nRightarrow
∀ forall ∃ exists ∄ nexists ¬ neg ∅ emptyset ∞ infty ∂ partial ∇ nabla ℏ hbar ℓ ell ℘ wp ℜ Re ℑ Im
ℵ aleph ℶ beth ∠ angle ∡ measuredangle △ triangle □ square ■ blacksquare ◇ diamond ⋄ diamond
♠ spadesuit ♡ heartsuit ♢ diamondsuit ♣ clubsuit ♭ flat ♮ natural ♯ sharp ∴ therefore ∵ because
′ prime ‵ backprime ⊤ top … ldots ⋯ cdots ⋮ vdots ⋱ ddots ⟨ langle ⟩ rangle 〈 langle 〉 rangle
〈 langle 〉 rangle ⌈ lceil ⌉ rceil ⌊ lfloor ⌋ rfloor ‖ Vert ∎ blacksquare ✓ checkmark ◯ bigcirc
"""
_WORDS = _COMMANDS.split()
_DOUBLE = {
    "ℂ": "C", "ℕ": "N", "ℙ": "P", "ℚ": "Q", "ℝ": "R", "ℤ": "Z", "ℍ": "H", "𝔸": "A", "𝔹": "B", "𝔻": "D",
    "𝔼": "E", "𝔽": "F", "𝔾": "G", "𝕀": "I", "𝕁": "J", "𝕂": "K", "𝕃": "L", "𝕄": "M", "𝕆": "O", "𝕊": "S",
    "𝕋": "T", "𝕌": "U", "𝕍": "V", "𝕎": "W", "𝕏": "X", "𝕐": "Y",
}  # fmt: skip

MATH: dict[str, str] = {
    **{char: f"\\{name}" for char, name in zip(_WORDS[::2], _WORDS[1::2], strict=True)},
    **{char: f"\\mathbb{{{letter}}}" for char, letter in _DOUBLE.items()},
    "#": r"\#", "$": r"\$", "%": r"\%", "&": r"\&", "_": r"\_", "{": r"\{", "}": r"\}",
    "\\": r"\backslash", "~": r"\sim", "^": r"\wedge", "'": r"\prime", "’": r"\prime", "″": r"\prime\prime",
    "−": "-", "–": "-", "‐": "-", "º": "°",
    "\xa0": "~", " ": "~", "\u2009": r"\,", "\u200a": r"\,", "\u202f": r"\,", "\u2005": r"\:", "\u2004": r"\;",
    "\u2002": r"\enspace", "\u2003": r"\quad", "\u2061": "", "\u2062": "", "\u2063": "", "\u2064": "",
    "\u200b": "", "\ufeff": "",
}  # fmt: skip
"""A character of mathematics in LaTeX's math mode, where it is not written as itself."""

TEXT: dict[str, str] = {
    "#": r"\#", "$": r"\$", "%": r"\%", "&": r"\&", "_": r"\_", "{": r"\{", "}": r"\}",
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "\xa0": " ", "\u200b": "", "\ufeff": "",
}  # fmt: skip
"""A character of text inside `\\text{}`, where it is not written as itself."""

FUNCTIONS = frozenset(
    [
        "arccos",
        "arcsin",
        "arctan",
        "arg",
        "cos",
        "cosh",
        "cot",
        "coth",
        "csc",
        "deg",
        "det",
        "dim",
        "exp",
        "gcd",
        "hom",
        "inf",
        "ker",
        "lg",
        "lim",
        "liminf",
        "limsup",
        "ln",
        "log",
        "max",
        "min",
        "Pr",
        "sec",
        "sin",
        "sinh",
        "sup",
        "tan",
        "tanh",
    ]
)
LARGE = frozenset({"\\sum", "\\prod", "\\coprod", "\\bigcup", "\\bigcap", "\\bigoplus", "\\bigotimes",
                   "\\bigvee", "\\bigwedge", "\\lim", "\\limsup", "\\liminf", "\\max", "\\min", "\\sup",
                   "\\inf", "\\det", "\\gcd", "\\Pr", "\\int", "\\iint", "\\iiint", "\\oint"})  # fmt: skip
"""Operators that take what stands under and over them as limits."""

OVER = {
    "-": "overline", "−": "overline", "–": "overline", "¯": "overline", "‾": "overline", "ˉ": "overline", "_": "overline", "―": "overline", "→": "vec", "⃗": "vec",
    "⇀": "vec", "←": "overleftarrow", "↔": "overleftrightarrow", "^": "hat", "ˆ": "hat", "̂": "hat",
    "~": "tilde", "˜": "tilde", "̃": "tilde", "∼": "tilde", "˙": "dot", ".": "dot", "¨": "ddot", "..": "ddot",
    "ˇ": "check", "˘": "breve", "´": "acute", "`": "grave", "˚": "mathring", "⏞": "overbrace",
    "︷": "overbrace",
}  # fmt: skip
UNDER = {"_": "underline", "¯": "underline", "̲": "underline", "―": "underline", "⏟": "underbrace",
         "︸": "underbrace", "→": "underrightarrow", "←": "underleftarrow"}  # fmt: skip
VARIANTS = {
    "bold": "mathbf", "bold-italic": "boldsymbol", "double-struck": "mathbb", "script": "mathcal",
    "bold-script": "mathcal", "fraktur": "mathfrak", "bold-fraktur": "mathfrak", "sans-serif": "mathsf",
    "bold-sans-serif": "mathsf", "monospace": "mathtt", "normal": "mathrm",
}  # fmt: skip
ENCLOSED = {
    "box": "boxed", "roundedbox": "boxed", "updiagonalstrike": "cancel", "downdiagonalstrike": "bcancel",
    "updiagonalstrike downdiagonalstrike": "xcancel", "downdiagonalstrike updiagonalstrike": "xcancel",
    "horizontalstrike": "cancel", "top": "overline", "bottom": "underline", "radical": "sqrt",
}  # fmt: skip
