"""What an import did, told to a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from local_store.imports import ImportReport, Skipped

MOST_NAMED: Final = 10


@dataclass(frozen=True, slots=True)
class Imported:
    """The outcome of an import."""

    kind: str
    """Where the file is from; empty when it held nothing."""
    report: ImportReport
    dry_run: bool
    problem: str
    """Why the rest of the file could not be read."""


def told(imported: Imported) -> list[str]:
    """Lines for a person: what came in, what was there, what was left out and why, and what was mended."""
    report = imported.report
    verb = "Would import" if imported.dry_run else "Imported"
    lines = [f"{verb} {_many(report.added, 'new session')} from {imported.kind or 'an empty file'}"]
    lines[0] += f" with {_many(report.messages, 'message')}." if report.messages else "."
    if report.extended:
        lines.append(f"{_many(report.extended, 'session')} had grown: the new messages were added.")
    if report.unchanged:
        lines.append(f"{_many(report.unchanged, 'session')} {_were(report.unchanged)} here already, complete.")
    if report.attachments:
        lines.append(f"{_many(report.attachments, 'image or file', 'images and files')} came with them.")
    for text, count in report.remarks:
        lines.append(f"{count:,} {text}.")
    if report.skipped:
        lines.append(f"{report.skipped:,} left out:")
        lines += [f"  {_named(each)}" for each in report.first_skipped[:MOST_NAMED]]
        if report.skipped > MOST_NAMED:
            lines.append(f"  … and {report.skipped - MOST_NAMED:,} more")
    return lines


def _named(skipped: Skipped) -> str:
    name = skipped.title or skipped.source_id
    return f"{name}: {skipped.reason}" if name else skipped.reason


def _many(count: int, noun: str, many: str = "") -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {many or noun + 's'}"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
