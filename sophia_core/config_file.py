"""The configuration file: read with every problem named by file, line and fix; written one key at a time."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong with what the user wrote, and what to do about it."""

    where: str
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message} {self.fix}".strip()


def read_toml(path: Path) -> tuple[dict[str, Any], str, list[Problem]]:
    """The tables of a TOML file, its text, and what stopped it from being read (then the tables are empty)."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return {}, "", []
    except OSError as error:
        return {}, "", [Problem(str(path), f"cannot be read: {error.strerror}.", "Check its permissions.")]
    if len(raw) > MAX_BYTES:
        return {}, "", [Problem(str(path), f"is larger than {MAX_BYTES // 1024} KiB.", "Is it really a config file?")]
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        return {}, "", [Problem(f"{path}:{line}", "is not UTF-8.", "Save the file as UTF-8.")]
    try:
        return tomllib.loads(text), text, []
    except (ValueError, RecursionError) as error:
        line = _error_line(error, text)
        reason = re.sub(r"\s*\(at .*\)$", "", str(error))
        fix = "Correct this line; the defaults are used until then."
        return {}, text, [Problem(f"{path}:{line}", f"is not valid TOML: {reason}.", fix)]


def _error_line(error: Exception, text: str) -> int:
    if match := re.search(r"at line (\d+)", str(error)):
        return int(match[1])
    return text.count("\n") + 1


def line_of(text: str, location: tuple[str | int, ...]) -> int | None:
    """The line a key stands on, counted from 1; None when it cannot be found by reading the text simply."""
    *above, last = location
    index = next((part for part in location if isinstance(part, int)), None)
    header = ".".join(part for part in above if isinstance(part, str))
    full = header if isinstance(last, int) else f"{header}.{last}".lstrip(".")
    wanted = re.compile(rf"""\s*["']?{re.escape(str(last))}["']?\s*=""")
    here, seen = "", {header: -1, full: -1}
    for number, line in enumerate(text.splitlines(), 1):
        if match := re.match(r"\s*\[\[?\s*([^\]]+?)\s*\]\]?", line):
            here = match[1].replace('"', "")
            if here in seen:
                seen[here] += 1
            if here == full and (index is None or seen[here] == index):
                return number
        elif here == header and (index is None or seen[header] == index) and wanted.match(line):
            return number
    return None


def write_value(path: Path, key: str, value: str) -> None:
    """Sets one top-level text value, keeping the rest of the file as it is. Raises OSError, ValueError."""
    set_value(path, key, value)


def set_value(path: Path, name: str, value: str | int | float | bool | list[str] | None) -> None:
    """Sets one value by its dotted name, such as `screen.mouse`, or takes it out for None; the rest of the file stays
    as it is. Raises OSError, ValueError."""
    import tomlkit

    text = path.read_text("utf-8") if path.exists() else ""
    document = tomlkit.parse(text)
    *tables, key = name.split(".")
    table: Any = document
    for part in tables:
        if part not in table:
            if value is None:
                return
            table[part] = tomlkit.table()
        table = table[part]
        if not isinstance(table, dict):
            raise ValueError(f"{part!r} is no table")
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value
    write_atomically(path, tomlkit.dumps(document))


def add_table(path: Path, name: str, values: Mapping[str, str | int | float | bool | list[str]]) -> None:
    """Adds one more `[[name]]` to a list of tables, which may stand in a table: `metrics.targets`. The rest of the file
    stays. Raises OSError, ValueError."""
    import tomlkit
    from tomlkit.items import AoT

    text = path.read_text("utf-8") if path.exists() else ""
    document = tomlkit.parse(text)
    entry = tomlkit.table()
    entry.update(values)
    parent, _, last = name.rpartition(".")
    holder: Any = document.setdefault(parent, tomlkit.table(is_super_table=True)) if parent else document
    if not isinstance(holder, dict):
        raise ValueError(f"{parent!r} is no table")
    present: Any = holder.setdefault(last, tomlkit.aot())
    if not isinstance(present, AoT):
        raise ValueError(f"{name!r} is no list of tables like [[{name}]]")
    present.append(entry)
    write_atomically(path, tomlkit.dumps(document))


def remove_table(path: Path, name: str, called: str) -> bool:
    """Takes the tables that are `called` so out of a list of tables `[[name]]`; the rest of the file stays. False where
    there is none. Raises OSError, ValueError."""
    import tomlkit

    document = tomlkit.parse(path.read_text("utf-8") if path.exists() else "")
    parent, _, last = name.rpartition(".")
    holder: Any = document.get(parent, {}) if parent else document
    entries: Any = holder.get(last, []) if isinstance(holder, Mapping) else None
    if not isinstance(entries, list):
        raise ValueError(f"{name!r} is no list of tables")
    found = [at for at, each in enumerate(entries) if isinstance(each, Mapping) and each.get("name") == called]
    for at in reversed(found):
        del entries[at]
    if found and not entries:
        del holder[last]
    if found:
        write_atomically(path, tomlkit.dumps(document))
    return bool(found)


def write_atomically(path: Path, text: str) -> None:
    """Writes the file whole or not at all, readable by its owner only. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise
