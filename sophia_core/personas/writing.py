"""Writing a persona file that a person goes on with by hand."""

from __future__ import annotations

from typing import Final

REST: Final = """
# greeting = "Said when it is chosen."
# colour = "cyan"
# model = ""          # and provider: who should answer, where you chose nobody with /model
# cache = true        # give the same answer to the same conversation again

# [sampling]
# temperature = 0.3
# max_tokens = 2000
"""
TEMPLATE: Final = '''about = "What it is for, in a line."

# {date}, {cwd} and {git_branch} are replaced; other braces stay as they are.
prompt = """
You are …
"""
'''


def skeleton(prompt: str, *, about: str = "") -> str:
    """The file of a persona with this prompt, and what else it could say as comments."""
    import tomlkit

    document = tomlkit.document()
    if about:
        document["about"] = about
    multiline = "\n" in prompt
    document["prompt"] = tomlkit.string(f"\n{prompt}\n" if multiline else prompt, multiline=multiline)
    return tomlkit.dumps(document) + REST
