"""What goes wrong in a rehearsal, and when: read from TOML, and never half understood."""

from __future__ import annotations

import math
import os
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

FaultKind: TypeAlias = Literal["refuse", "hang", "stall", "reset", "truncate", "status", "error_first", "slow"]

PROFILE_MAX: Final = 256 << 10
"""Bytes that a profile may have."""
KINDS: Final[tuple[str, ...]] = get_args(FaultKind)
_SHOWN: Final = ", ".join("status:503 (or any other from 400 to 599)" if kind == "status" else kind for kind in KINDS)
_NUMBERS: Final = ("probability", "from_s", "until_s", "every_s", "for_s", "delay_s", "retry_after_s")
_TEXTS: Final = ("provider", "host", "kind")
_STATUS: Final = 503


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that goes wrong."""

    kind: FaultKind
    provider: str = "*"
    """Pattern (`gh200-*`) of the providers it is meant for."""
    host: str = "*"
    """Pattern of the hosts it is meant for, with or without their port."""
    probability: float = 1.0
    """Of each request."""
    from_s: float = 0.0
    """When it begins, in seconds from the start of the program."""
    until_s: float = math.inf
    every_s: float = 0.0
    """Above 0 it comes and goes: it is on for the first `for_s` of each `every_s`."""
    for_s: float = 0.0
    status: int = _STATUS
    """What the server answers, for `status`."""
    retry_after_s: float | None = None
    """How long it says to wait, for `status`."""
    delay_s: float = 5.0
    """How much later the answer begins, for `slow`."""

    def is_on(self, at_s: float) -> bool:
        """Return whether it can strike at this time."""
        if not self.from_s <= at_s < self.until_s:
            return False
        return not self.every_s or (at_s - self.from_s) % self.every_s < self.for_s


@dataclass(frozen=True, slots=True)
class ChaosProfile:
    """All that goes wrong in a rehearsal. For one request the first fault that strikes counts."""

    seed: int = 0
    faults: tuple[Fault, ...] = ()


def load_profile(path: str | os.PathLike[str]) -> ChaosProfile:
    """Return the profile in a file. Raises ValueError, with a text for people, when that is not possible."""
    try:
        with open(path, "rb") as file:
            raw = file.read(PROFILE_MAX + 1)
    except OSError as error:
        raise ValueError(f"the chaos profile {os.fspath(path)!r} cannot be read: {error.strerror or error}") from None
    if len(raw) > PROFILE_MAX:
        raise ValueError(f"the chaos profile {os.fspath(path)!r} is larger than {PROFILE_MAX >> 10} KiB")
    try:
        return parse_profile(raw.decode("utf-8"))
    except UnicodeDecodeError:
        reason = "it is not UTF-8 text"
    except ValueError as error:
        reason = str(error)
    raise ValueError(f"the chaos profile {os.fspath(path)!r} is not right: {reason}")


def parse_profile(text: str) -> ChaosProfile:
    """Return the profile that a TOML text describes. Raises ValueError that names what is wrong."""
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ValueError(f"it is no TOML: {error}") from None
    _only(data, ("seed", "fault"), "at the top")
    seed = data.get("seed", 0)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ValueError(f"seed has to be a whole number, not {seed!r}")
    tables = data.get("fault", [])
    if not isinstance(tables, list) or not all(isinstance(each, dict) for each in tables):
        raise ValueError("faults are written as tables, each under its own [[fault]]")
    return ChaosProfile(seed, tuple(_fault(each, f"fault {number}") for number, each in enumerate(tables, 1)))


def _fault(table: Mapping[str, object], place: str) -> Fault:
    _only(table, (*_TEXTS, *_NUMBERS), f"in {place}")
    kind, status = _kind(table.get("kind"), place)
    texts = {name: _text(table[name], name, place) for name in ("provider", "host") if name in table}
    numbers = {name: _number(table[name], name, place) for name in _NUMBERS if name in table}
    fault = Fault(kind, status=status, **texts, **numbers)  # type: ignore[arg-type]
    _check(fault, place)
    return fault


def _kind(value: object, place: str) -> tuple[FaultKind, int]:
    if not isinstance(value, str):
        raise ValueError(f"{place} needs a kind: one of {_SHOWN}")
    name, _, status = value.partition(":")
    if name == "status" and status.isascii() and status.isdigit() and 400 <= int(status[:4]) <= 599:
        return "status", int(status)
    for kind in get_args(FaultKind):
        if kind == value and kind != "status":
            return kind, _STATUS
    raise ValueError(f"{place} is of the kind {value!r}, which is not known; there are {_SHOWN}")


def _text(value: object, name: str, place: str) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name} in {place} has to be a pattern like 'gh200-*', not {value!r}")
    return value


def _number(value: object, name: str, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ValueError(f"{name} in {place} has to be a number that is not below 0, not {value!r}")
    return float(value) if value <= sys.float_info.max else math.inf


def _check(fault: Fault, place: str) -> None:
    if fault.probability > 1:
        raise ValueError(f"probability in {place} is between 0 and 1, not {fault.probability:g}")
    if fault.until_s <= fault.from_s:
        raise ValueError(f"until_s in {place} has to be after from_s")
    if bool(fault.every_s) != bool(fault.for_s) or fault.for_s > fault.every_s:
        raise ValueError(f"every_s and for_s in {place} go together, and for_s is the shorter one")


def _only(table: Mapping[str, object], known: tuple[str, ...], where: str) -> None:
    if strange := sorted(set(table) - set(known)):
        raise ValueError(f"{strange[0]!r} {where} is not known; there are {', '.join(known)}")
