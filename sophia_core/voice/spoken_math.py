"""Short formulas in the words of somebody who reads them aloud."""

from __future__ import annotations

import re
from typing import Final

LONGEST: Final = 80
"""A longer formula is told about, not read."""
WORDS: Final = {
    "times": "times", "cdot": "times", "div": "divided by", "pm": "plus or minus", "mp": "minus or plus",
    "le": "is at most", "leq": "is at most", "ge": "is at least", "geq": "is at least", "ne": "is not", "neq": "is not",
    "approx": "is about", "equiv": "is equivalent to", "sim": "is similar to", "propto": "is proportional to",
    "to": "to", "rightarrow": "to", "Rightarrow": "implies", "implies": "implies", "iff": "if and only if",
    "in": "in", "notin": "not in", "subset": "is a subset of", "cup": "union", "cap": "intersection",
    "forall": "for all", "exists": "there is", "infty": "infinity", "partial": "partial", "nabla": "nabla",
    "sum": "the sum of", "prod": "the product of", "int": "the integral of", "lim": "the limit of",
    "log": "log", "ln": "the natural log of", "exp": "exp", "sin": "sine", "cos": "cosine", "tan": "tangent",
    "max": "max", "min": "min", "ldots": "and so on", "dots": "and so on", "cdots": "and so on",
    "quad": ",", "qquad": ",", "lt": "is less than", "gt": "is greater than", "mid": "given", "circ": "degrees",
}  # fmt: skip
GREEK: Final = frozenset(
    {"alpha", "beta", "gamma", "delta", "epsilon", "varepsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda"}
    | {"mu", "nu", "xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "varphi", "chi", "psi", "omega"}
)
_SIGNS: Final = {
    "+": "plus",
    "-": "minus",
    "−": "minus",
    "=": "equals",
    "<": "is less than",
    ">": "is greater than",
    "*": "times",
    "/": "over",
    "!": "factorial",
    "|": ",",
    "&": ",",
    "≤": "is at most",
    "≥": "is at least",
}
_POWERS: Final = {"2": "squared", "3": "cubed"}
_IGNORED: Final = frozenset(
    {"left", "right", "big", "Big", "bigg", "Bigg", "displaystyle", "textstyle", "limits"}
    | {"mathrm", "mathbf", "mathit", "text"}
)
_IGNORED_SIGNS: Final = frozenset(" ~{}()[],;:.'\\")
_TOKEN: Final = re.compile(r"\\[A-Za-z]+|\\.|\d+(?:[.,]\d+)*|[A-Za-z]+|\S")
_GROUP: Final = r"\{([^{}]*)\}"
_FRACTION: Final = re.compile(rf"\\[dt]?frac\s*{_GROUP}\s*{_GROUP}")
_ROOT: Final = re.compile(rf"\\sqrt\s*{_GROUP}")
_PLAIN: Final = re.compile(
    rf"\\(?:text|mathrm|mathbf|mathit|operatorname|textbf|mathbb|mathcal|vec|hat|bar)\s*{_GROUP}"
)
_RAISED: Final = re.compile(rf"\^\s*(?:{_GROUP}|(\\?\w))")
_LOWERED: Final = re.compile(rf"_\s*(?:{_GROUP}|(\\?\w))")


def formula(tex: str) -> str:
    """Return a formula in words; empty where it is too long, or says what nobody could follow by ear."""
    if len(tex) > LONGEST * 4:
        return ""
    text = _PLAIN.sub(r" \1 ", tex)
    for _ in range(3):
        text = _FRACTION.sub(r" \1 \\over \2 ", text)
        text = _ROOT.sub(r" \\rootof \1 ", text)
        text = _RAISED.sub(_power, text)
        text = _LOWERED.sub(lambda found: f" \\sub {found[1] or found[2]} ", text)
    words = [_word(token) for token in _TOKEN.findall(text)]
    if any(word is None for word in words):
        return ""
    said = re.sub(r"\s+,", ",", " ".join(filter(None, words))).strip(", ")
    return said if len(said) <= LONGEST * 2 else ""


def _power(found: re.Match[str]) -> str:
    exponent = (found[1] or found[2]).strip()
    if exponent in (r"\circ", "circ"):
        return r" \circ "
    return f" \\{_POWERS[exponent]} " if exponent in _POWERS else f" \\tothe {exponent} "


_OWN: Final = {
    r"\over": "over",
    r"\rootof": "the square root of",
    r"\squared": "squared",
    r"\cubed": "cubed",
    r"\tothe": "to the power of",
    r"\sub": "sub",
}


def _word(token: str) -> str | None:
    """The word of a token; empty for what is not said, None for what nobody knows how to say."""
    if token in _OWN:
        return _OWN[token]
    if token.startswith("\\") and len(token) > 1:
        name = token[1:]
        if name.lower() in GREEK:
            return name.removeprefix("var")
        if name in _IGNORED or not name[0].isalpha():
            return ""
        return WORDS.get(name)
    if token in _SIGNS:
        return _SIGNS[token]
    if token in _IGNORED_SIGNS:
        return ""
    return token if token.isalnum() or token[0].isdigit() else None
