"""What the commands of LaTeX stand for in Unicode: data only."""

from __future__ import annotations

_GREEK = (
    "alpha α beta β gamma γ delta δ epsilon ε varepsilon ε zeta ζ eta η theta θ vartheta ϑ iota ι kappa κ lambda λ "
    "mu μ nu ν xi ξ pi π varpi ϖ rho ρ varrho ϱ sigma σ varsigma ς tau τ upsilon υ phi φ varphi φ chi χ psi ψ omega ω "
    "Gamma Γ Delta Δ Theta Θ Lambda Λ Xi Ξ Pi Π Sigma Σ Upsilon Υ Phi Φ Psi Ψ Omega Ω"
)
_SIGNS = (
    "sum ∑ prod ∏ coprod ∐ int ∫ iint ∬ iiint ∭ oint ∮ partial ∂ nabla ∇ infty ∞ forall ∀ exists ∃ nexists ∄ "
    "emptyset ∅ varnothing ∅ aleph ℵ hbar ℏ ell ℓ Re ℜ Im ℑ wp ℘ angle ∠ degree ° prime ′ dagger † ddagger ‡ "
    "cdot · times × div ÷ pm ± mp ∓ ast ∗ star ⋆ circ ∘ bullet • oplus ⊕ otimes ⊗ odot ⊙ ominus ⊖ "
    "ldots … dots … cdots ⋯ vdots ⋮ ddots ⋱ dotsc … dotsb ⋯ colon : "
    "top ⊤ bot ⊥ vert | Vert ‖ lVert ‖ rVert ‖ lvert | rvert | langle ⟨ rangle ⟩ lfloor ⌊ rfloor ⌋ lceil ⌈ rceil ⌉ "
    "lbrace { rbrace } lbrack [ rbrack ] backslash \\ square □ blacksquare ■ triangle △ checkmark ✓ "
    "neg ¬ lnot ¬ wedge ∧ land ∧ vee ∨ lor ∨ cap ∩ cup ∪ setminus ∖ therefore ∴ because ∵ complement ∁"
)
_RELATIONS = (
    "leq ≤ le ≤ geq ≥ ge ≥ neq ≠ ne ≠ ll ≪ gg ≫ approx ≈ equiv ≡ cong ≅ sim ∼ simeq ≃ propto ∝ asymp ≍ doteq ≐ "
    "in ∈ notin ∉ ni ∋ subset ⊂ subseteq ⊆ supset ⊃ supseteq ⊇ nsubseteq ⊈ mid ∣ nmid ∤ parallel ∥ perp ⊥ "
    "vdash ⊢ models ⊨ prec ≺ succ ≻ preceq ⪯ succeq ⪰ coloneqq ≔ triangleq ≜ "
    "to → rightarrow → gets ← leftarrow ← leftrightarrow ↔ uparrow ↑ downarrow ↓ mapsto ↦ hookrightarrow ↪ "
    "Rightarrow ⇒ Leftarrow ⇐ Leftrightarrow ⇔ implies ⇒ impliedby ⇐ iff ⇔ longrightarrow ⟶ longleftarrow ⟵ "
    "Longrightarrow ⟹ nearrow ↗ searrow ↘ rightleftharpoons ⇌ xrightarrow → xleftarrow ←"
)
_SPACES = {",": " ", ";": " ", ":": " ", "!": "", " ": " ", "quad": "  ", "qquad": "    ", "enspace": " ", "~": " "}


def _pairs(words: str) -> dict[str, str]:
    each = iter(words.split())
    return dict(zip(each, each, strict=True))


RELATIONS = frozenset(_pairs(_RELATIONS).values())
"""Signs that stand between spaces."""
SIGNS = {**_pairs(_GREEK), **_pairs(_SIGNS), **_pairs(_RELATIONS), **_SPACES}
WORDS = frozenset(
    [
        "log",
        "ln",
        "lg",
        "exp",
        "sin",
        "cos",
        "tan",
        "cot",
        "sec",
        "csc",
        "sinh",
        "cosh",
        "tanh",
        "arcsin",
        "arccos",
        "arctan",
        "min",
        "max",
        "sup",
        "inf",
        "lim",
        "limsup",
        "liminf",
        "det",
        "dim",
        "ker",
        "deg",
        "gcd",
        "arg",
        "argmax",
        "argmin",
        "Pr",
        "mod",
        "hom",
        "tr",
        "rank",
    ]
)
"""Functions that are written out."""
PLAIN = frozenset(
    [
        "text",
        "textrm",
        "textbf",
        "textit",
        "texttt",
        "mathrm",
        "mathbf",
        "mathit",
        "mathsf",
        "mathtt",
        "boldsymbol",
        "bm",
        "operatorname",
        "mbox",
        "hbox",
        "underline",
        "boxed",
        "phantom",
        "emph",
        "displaystyle",
        "textstyle",
        "mathop",
        "mathcal",
        "mathscr",
        "mathfrak",
    ]
)
"""Commands that only change how their argument looks."""
SILENT = frozenset(
    [
        "left",
        "right",
        "big",
        "Big",
        "bigg",
        "Bigg",
        "bigl",
        "bigr",
        "Bigl",
        "Bigr",
        "middle",
        "limits",
        "nolimits",
        "nonumber",
        "notag",
        "displaystyle",
        "textstyle",
        "hline",
    ]
)
"""Commands that say nothing a row of text can show."""
ACCENTS = {
    "hat": "\u0302", "widehat": "\u0302", "bar": "\u0304", "overline": "\u0305", "vec": "\u20d7", "dot": "\u0307",
    "ddot": "\u0308", "tilde": "\u0303", "widetilde": "\u0303", "check": "\u030c", "breve": "\u0306",
}  # fmt: skip
BLACKBOARD = dict(zip("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "𝔸𝔹ℂ𝔻𝔼𝔽𝔾ℍ𝕀𝕁𝕂𝕃𝕄ℕ𝕆ℙℚℝ𝕊𝕋𝕌𝕍𝕎𝕏𝕐ℤ", strict=True))
RAISED = dict(
    zip(
        "0123456789+-=()abcdefghijklmnoprstuvwxyzABDEGHIJKLMNOPRTUVW βγδθφχ′∗",
        "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁼⁽⁾ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻᴬᴮᴰᴱᴳᴴᴵᴶᴷᴸᴹᴺᴼᴾᴿᵀᵁⱽᵂ ᵝᵞᵟᶿᵠᵡ′*",
        strict=True,
    )
)
LOWERED = dict(zip("0123456789+-=()aehijklmnoprstuvx βγρφχ", "₀₁₂₃₄₅₆₇₈₉₊₋₌₍₎ₐₑₕᵢⱼₖₗₘₙₒₚᵣₛₜᵤᵥₓ ᵦᵧᵨᵩᵪ", strict=True))
BRACKETS = {
    "matrix": ("", ""), "pmatrix": ("(", ")"), "bmatrix": ("[", "]"), "Bmatrix": ("{", "}"), "vmatrix": ("|", "|"),
    "Vmatrix": ("‖", "‖"), "smallmatrix": ("", ""), "cases": ("{", ""), "array": ("", ""),
}  # fmt: skip
