"""Which models can look at pictures: what their server says, and where it says nothing, what their name tells.

vLLM lists a model without a word about what it takes. A name that is wrong about it costs one refused question; to
take every unnamed model for blind would refuse all of them.
"""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final = re.compile(
    r"(?<![a-z0-9])(?:vl\d*|vision|visual|omni|multimodal|llava\w*|bakllava|pixtral|internvl\w*|minicpm-[vo]|smolvlm\w*"
    r"|molmo\w*|moondream\w*|idefics\w*|paligemma\w*|cogvlm\w*|fuyu|ovis\w*|florence|mllama|aria|ocr)(?![a-z0-9])"
)
_FAMILIES: Final = re.compile(
    r"gpt-(?:4o|4\.1|4-turbo|[5-9])|(?<![a-z0-9])o(?:3(?!-mini)|4)(?![a-z0-9])|claude-(?:3|[a-z]+-[4-9]|[4-9])|gemini"
    r"|gemma-?3n?-(?:4b|12b|27b|n|e\db)|gemma-?[4-9]|llama-?4|mistral-(?:small-3\.[1-9]|medium-3|large-3)|glm-[4-9](?:\.\d)?v"
    r"|qwen3\.[5-9]|kimi-k2\.[5-9]|phi-3\.5-vision|phi-4-multimodal|nova-(?:lite|pro)|grok-(?:[4-9]|2-vision)"
)


def likely_sees(model: str | None) -> bool:
    """Say whether a model of this name is one of those that look at pictures."""
    if not model:
        return False
    name = model.lower().replace("_", "-")
    return bool(_WORDS.search(name) or _FAMILIES.search(name))
