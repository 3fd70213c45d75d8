"""Writes what is derived from code: docs/commands.md, docs/settings.md, the index of decisions, and the dashboards."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from pydantic import BaseModel

from sophia_core.commands import Declaration, declarations, parameter_words, type_name
from sophia_core.metrics.settings import MetricsTarget
from sophia_core.runtime import COMMAND_OWNERS
from sophia_core.settings import ProviderSettings, Settings
from sophia_tui.commands import SCREEN_OWNERS
from tools import dashboards

ROOT = Path(__file__).resolve().parent.parent
MADE = "<!-- Made by `make docs`; do not edit. -->\n"


def commands_page() -> str:
    """Every command, by group."""
    specs = [spec for owner in (*COMMAND_OWNERS, *SCREEN_OWNERS) for _, spec in declarations(owner)]
    lines = [
        MADE,
        "# Commands",
        "",
        "Everything a person can do. The same names work in the prompt (`/chat.send hi`, or the short name), in the",
        "palette, on a key, and from a shell with `sophia run` (but for those marked *app*).",
    ]
    for group in sorted({spec.name.split(".")[0] for spec in specs}):
        lines += ["", f"## {group}", "", "| command | short | keys | what it does |", "|---|---|---|---|"]
        lines += [
            _command_row(spec) for spec in sorted(specs, key=lambda s: s.name) if spec.name.split(".")[0] == group
        ]
    return "\n".join(lines) + "\n"


def _command_row(spec: Declaration) -> str:
    marks = [name for name, on in (("app", spec.needs_app), ("asks first", spec.dangerous)) if on]
    help_text = spec.help + "".join(f" *{mark}*" for mark in marks)
    keys = ", ".join(f"`{key}`" for key in spec.keys)
    short = f"`/{spec.slash}`" if spec.slash else ""
    return f"| `{' '.join([spec.name, *parameter_words(spec)])}` | {short} | {keys} | {help_text} |"


def settings_page() -> str:
    """Every setting, by table."""
    lines = [
        MADE,
        "# Settings",
        "",
        "`config.toml` lies in the configuration folder of your platform (`~/.config/sophia` on Linux), or in",
        "`SOPHIA_HOME`. The environment wins over it: `SOPHIA_THEME=paper`, and `__` between levels:",
        "`SOPHIA_CHAT__TEMPERATURE=0.2`. `sophia doctor` names every mistake with its line.",
        "",
        "`SOPHIA_HOME=DIR` keeps everything SOPHIA writes under DIR. `SOPHIA_NO_KEYRING=1` leaves the keyring alone.",
    ]
    tables: list[tuple[str, type[BaseModel]]] = [("", Settings), ("[[providers]]", ProviderSettings)]
    for name, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            tables.append((f"[{name}]", field.annotation))
    tables.append(("[[metrics.targets]]", MetricsTarget))
    for title, model in tables:
        lines += ["", f"## {title or 'At the top'}", "", (model.__doc__ or "").split("\n\n")[0], ""]
        lines += ["| key | type | default | what it does |", "|---|---|---|---|", *_setting_rows(model)]
    return "\n".join(lines) + "\n"


def _setting_rows(model: type[BaseModel]) -> Iterable[str]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            continue
        kind = type_name(field.annotation).replace("|", " / ")
        default = "" if field.is_required() or field.default in (None, "", (), {}) else f"`{field.default}`"
        yield f"| `{name}` | {kind} | {default} | {field.description or ''} |"


def decisions_page() -> str:
    """The index of the decisions on record."""
    lines = [MADE, "# Decisions", "", "One short record per decision; `template.md` is how to write one.", ""]
    for path in sorted((ROOT / "docs/adr").glob("[0-9]*.md")):
        title = path.read_text("utf-8").splitlines()[0].removeprefix("# ")
        lines.append(f"- [{title}]({path.name})")
    return "\n".join(lines) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "docs/commands.md": commands_page,
    "docs/settings.md": settings_page,
    "docs/adr/README.md": decisions_page,
    **{name: partial(dashboards.page, name) for name in dashboards.FILES},
}


def main() -> int:
    """Writes the pages, or with --check says which are out of date and returns 1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a page is out of date")
    check = parser.parse_args().check
    stale = []
    for name, page in PAGES.items():
        path, text = ROOT / name, page()
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale.append(name)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    print(f"generated pages: {len(PAGES)}, {'out of date' if check else 'written'}: {', '.join(stale) or 'none'}")
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
