"""Every setting there is, as one model; `docs/settings.md` is generated from it.

Values come from the environment (`SOPHIA_…`, `__` between levels) and then from the TOML file. A wrong value never
stops the app: it is dropped, its default is used, and a `Problem` names file, line and fix.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from sophia_core.alerts.settings import AlertSettings
from sophia_core.config_file import Problem, line_of, read_toml
from sophia_core.costs.settings import CostSettings
from sophia_core.first_look import LIGHT_THEME, THEME
from sophia_core.healing.settings import HealingSettings
from sophia_core.metrics.settings import MetricsSettings
from sophia_core.metrics.trace_settings import TraceSettings
from sophia_core.objectives.settings import ObjectiveSettings
from sophia_core.paths import Paths, resolve_paths
from sophia_core.setting_kinds import Address, Name, Positive, Section
from sophia_core.swarm.settings import SwarmSettings
from sophia_core.voice.settings import VoiceSettings

SYSTEM_PROMPT = "You are SOPHIA, a helpful assistant in a terminal. Answer briefly and clearly, in Markdown."
SCOPES = ("openid", "profile", "offline_access")
RESERVED = frozenset({"auto", "embedded", "none"})
"""Provider names that are ours: all of them, the model of this machine, and nobody."""
SECRETS = frozenset({"api_key", "passphrase"})


class ProviderSettings(Section):
    """One server that speaks the OpenAI chat protocol."""

    name: Name = Field(description="What the status bar calls it.")
    base_url: Address = Field(description="Where it answers, usually ending in `/v1`.")
    model: str | None = Field(None, description="The model to ask for; the first one it offers when empty.")
    models: tuple[str, ...] = Field((), description="Further models it may be asked for.")
    kind: Literal["openai", "vllm", "llamacpp", "openrouter"] | None = Field(
        None, description="Which server it is; found out when empty."
    )
    api_key_env: str | None = Field(None, description="The environment variable that holds its API key.")
    issuer: Address | None = Field(None, description="Where people sign in for it (OpenID Connect): `sophia login`.")
    client_id: str = Field("sophia", min_length=1, max_length=256, description="What the sign-in server knows us as.")
    scopes: tuple[str, ...] = Field(SCOPES, description="What to ask for when signing in.")
    context_window: int | None = Field(None, gt=0, description="Tokens the model can read; asked for when empty.")
    price_prompt: float | None = Field(None, ge=0, description="USD per million tokens read.")
    price_completion: float | None = Field(None, ge=0, description="USD per million tokens written.")
    price_cached: float | None = Field(
        None, ge=0, description="USD per million tokens read that the server had read before."
    )
    connect_timeout: Positive = Field(5.0, description="Seconds to reach the server.")
    first_token_timeout: Positive = Field(120.0, description="Seconds until the first token.")
    idle_timeout: Positive = Field(60.0, description="Seconds a stream may stay silent.")
    total_timeout: Positive = Field(1800.0, description="Seconds for a whole answer.")
    max_attempts: int = Field(3, ge=1, le=10, description="Tries before the first token arrives.")
    max_concurrent: int = Field(16, ge=1, le=1000, description="Requests in flight at once; more wait in line.")
    capabilities: tuple[Literal["chat", "tools", "vision", "embeddings"], ...] = Field(
        ("chat", "tools"), min_length=1, description="What it can do: chat, tools, vision, embeddings."
    )
    tier: int | None = Field(
        None, ge=0, le=9, description="Asked only when no lower tier can answer; 0, or 1 where answers cost money."
    )
    region: str = Field("", max_length=64, description="Where it stands; the same region is preferred.")
    paid: bool | None = Field(None, description="Whether answers cost money; guessed from price and address if empty.")


class EmbeddedSettings(Section):
    """The model that runs on this machine, in a process of its own."""

    model_path: Path | None = Field(None, description="A GGUF file to use instead of the packaged model.")
    context: int = Field(4096, ge=512, le=1_048_576, description="Tokens of context; more needs more memory.")
    threads: int | None = Field(None, ge=1, le=512, description="CPU threads; chosen from the cores when empty.")
    download: bool = Field(True, description="Fetch the weights from their home when they are not installed.")
    prewarm: bool = Field(True, description="Load the model after the first paint, before the first question.")


class RoutingSettings(Section):
    """Which provider answers, when there are several."""

    region: str = Field("", max_length=64, description="Where you are; providers there are preferred.")
    daily_cap_usd: float | None = Field(
        5.0, ge=0, description="The most that paid providers may cost a day, in USD; 0 asks none of them."
    )
    embedded_fallback: bool = Field(True, description="Let the model on this machine answer when no server can.")
    probe: bool = Field(True, description="Ask providers that are out whether they are back, and how busy they are.")


class ChatSettings(Section):
    """How questions are asked."""

    system_prompt: str = Field(SYSTEM_PROMPT, description="What every conversation starts with.")
    temperature: float | None = Field(None, ge=0, le=2, description="The server's own when empty.")
    max_tokens: int | None = Field(None, gt=0, description="The longest answer, in tokens.")
    cache: bool = Field(False, description="Give the same answer to the same conversation again, and say so.")
    cache_hours: Positive = Field(24.0, description="How long a kept answer is given.")
    cache_entries: int = Field(1000, ge=1, le=10_000, description="How many answers are kept; the oldest make room.")
    cache_characters: int = Field(
        10_000_000, ge=10_000, le=1_000_000_000, description="How much text the kept answers may have together."
    )
    titles: Literal["off", "words", "free", "model"] = Field(
        "free",
        description="Who names sessions: nobody, the question's first words, a model that costs nothing, any model.",
    )
    notify: Literal["off", "bell", "desktop"] = Field(
        "bell", description="How an answer that took long is told of to somebody who is not looking."
    )
    notify_after_s: Positive = Field(10.0, description="Seconds an answer has to take for that.")


class StoreSettings(Section):
    """The encrypted store."""

    lock_after_minutes: float | None = Field(
        None, gt=0, le=10_080, description="Lock the store after so long without a key pressed; never when empty."
    )
    allow_network_folder: bool = Field(
        False, description="Use a store on a network file system all the same; only one machine may ever use it."
    )


class MemorySettings(Section):
    """Finding what was said by what it means."""

    semantic: bool = Field(True, description="Find by meaning too, where the `memory` extra is installed.")
    index_cpu_percent: int = Field(
        25, ge=1, le=100, description="The share of one CPU core that reading old messages in the background may take."
    )


class AnalyticsSettings(Section):
    """How often what is used; names and numbers only, in the encrypted store, sent nowhere."""

    enabled: bool = Field(False, description="Count commands, turns, models and personas by day: `analytics.show`.")


class ControlSettings(Section):
    """Letting other processes of yours drive the app."""

    enabled: bool = Field(False, description="Let `sophia ctl` drive this app through a socket only you can reach.")


class ScreenSettings(Section):
    """How the terminal app draws."""

    frames_per_second: int | None = Field(None, ge=1, le=30, description="While an answer streams; 12, or 5 over SSH.")
    ascii_only: bool = Field(False, description="Draw with ASCII only; set by itself where the locale is not UTF-8.")
    mouse: bool | None = Field(
        None,
        description="Let the app use the mouse; when empty everywhere but in GNU screen, which then holds Esc back.",
    )
    sidebar: bool = Field(True, description="Show the list of sessions when there is room.")
    reduced_motion: bool = Field(False, description="No blinking and no gliding; answers are drawn in larger steps.")
    linear: bool = Field(
        False, description="Talk in plain lines, one after the other, for screen readers and plain terminals."
    )


class LogSettings(Section):
    """The JSON log file."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="The least that is written.")
    max_bytes: int = Field(5_000_000, ge=10_000, description="Size at which a log file is rotated; three are kept.")


class Settings(BaseSettings):
    """All settings. Secrets come from the environment only; the file refuses them."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="SOPHIA_", env_nested_delimiter="__")

    base_url: Address | None = Field(None, description="One server to use for everything; nothing local is started.")
    api_key: SecretStr | None = Field(None, description="The key for `base_url`. Environment only.")
    model: str | None = Field(None, description="The model to ask for, of `base_url` or of the chosen provider.")
    passphrase: SecretStr | None = Field(None, description="Unlocks the store. Environment only.")
    provider: str | None = Field(None, description="The provider to use first; the first listed when empty.")
    persona: str = Field("", max_length=40, description="Who answers when a conversation begins; nobody when empty.")
    theme: str = Field(
        THEME, description="A theme of the `themes` folder; `auto` follows the terminal's light or dark ground."
    )
    theme_dark: str = Field(THEME, description="What `auto` takes where the terminal is dark.")
    theme_light: str = Field(LIGHT_THEME, description="What `auto` takes where the terminal is light.")
    providers: tuple[ProviderSettings, ...] = Field(
        (), description="Servers, best first; none means the embedded model."
    )
    keys: dict[str, str] = Field({}, description='Other keys: `preset = "vim"`, `"session.new" = "ctrl+x n"`.')
    embedded: EmbeddedSettings = EmbeddedSettings()
    routing: RoutingSettings = RoutingSettings()
    chat: ChatSettings = ChatSettings()
    store: StoreSettings = StoreSettings()
    memory: MemorySettings = MemorySettings()
    voice: VoiceSettings = VoiceSettings()
    analytics: AnalyticsSettings = AnalyticsSettings()
    metrics: MetricsSettings = MetricsSettings()
    traces: TraceSettings = TraceSettings()
    alerts: AlertSettings = AlertSettings()
    slo: ObjectiveSettings = ObjectiveSettings()
    costs: CostSettings = CostSettings()
    healing: HealingSettings = HealingSettings()
    swarm: SwarmSettings = SwarmSettings()
    control: ControlSettings = ControlSettings()
    screen: ScreenSettings = ScreenSettings()
    log: LogSettings = LogSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what `load_settings` passes in: it has merged the environment already, to name each source."""
        return (init_settings,)


@dataclass(frozen=True, slots=True)
class Loaded:
    """Usable settings and what was wrong with what the user wrote."""

    settings: Settings
    problems: tuple[Problem, ...]
    paths: Paths
    server_named: bool = False
    """SOPHIA_BASE_URL is set, rightly or wrongly: nothing local is started."""


def load_settings(env: Mapping[str, str] | None = None) -> Loaded:
    """Settings from the environment and the file. Never raises for what a user wrote."""
    env = os.environ if env is None else env
    paths = resolve_paths(env)
    tables, text, problems = read_toml(paths.config_file)
    for name in sorted(SECRETS & tables.keys()):
        del tables[name]
        where = _where(paths.config_file, text, (name,))
        fix = f"Remove it here and set SOPHIA_{name.upper()} in the environment."
        problems.append(Problem(where, f"{name!r} is a secret and was not read.", fix))
    values = _from_environment(env)
    _check_numbers(tables.get("providers"), values, problems)
    while True:
        try:
            settings = Settings(**_merge(tables, values))
        except ValidationError as error:
            if not _drop_wrong(error, tables, values, paths.config_file, text, problems):
                raise
        else:
            settings = _named_rightly(settings, paths.config_file, text, problems)
            return Loaded(settings, tuple(problems), paths, server_named=bool(env.get("SOPHIA_BASE_URL")))


def _named_rightly(settings: Settings, path: Path, text: str, problems: list[Problem]) -> Settings:
    """The same without providers that nobody could call by name, and without a choice of one that is not there."""
    kept: dict[str, ProviderSettings] = {}
    for number, each in enumerate(settings.providers):
        if each.name not in kept and each.name not in RESERVED:
            kept[each.name] = each
            continue
        what = "is there twice" if each.name in kept else "has a meaning of its own"
        where = _where(path, text, ("providers", number, "name"))
        problems.append(
            Problem(where, f"the provider name {each.name!r} {what}.", "This entry is left out until then.")
        )
    chosen = settings.provider
    if chosen and chosen not in kept and chosen != "embedded" and not settings.base_url:
        known = ", ".join([*kept, "embedded"])
        where = _where(path, text, ("provider",))
        problems.append(Problem(where, f"'provider': there is no provider {chosen!r}.", f"Known: {known}."))
        chosen = None
    return settings.model_copy(update={"providers": tuple(kept.values()), "provider": chosen})


def _from_environment(env: Mapping[str, str]) -> dict[str, Any]:
    source = EnvSettingsSource(Settings)
    known = {f"sophia_{name}" for name in Settings.model_fields}
    lowered = {key.lower(): value for key, value in env.items()}
    source.env_vars = {key: value for key, value in lowered.items() if key.split("__")[0] in known and value}
    try:
        return source()
    except ValueError:  # a table given as text that is not JSON: the other variables still count
        source.env_vars = {k: v for k, v in source.env_vars.items() if "__" in k or k not in _TABLES}
        return source()


_TABLES = frozenset(
    {
        "sophia_providers",
        "sophia_keys",
        "sophia_embedded",
        "sophia_routing",
        "sophia_chat",
        "sophia_store",
        "sophia_memory",
        "sophia_voice",
        "sophia_analytics",
        "sophia_metrics",
        "sophia_traces",
        "sophia_alerts",
        "sophia_slo",
        "sophia_healing",
        "sophia_control",
        "sophia_screen",
        "sophia_log",
    }
)


def _merge(low: dict[str, Any], high: dict[str, Any]) -> dict[str, Any]:
    merged = dict(low)
    for key, value in high.items():
        below = merged.get(key)
        if isinstance(value, dict) and value and all(part.isdecimal() for part in value):
            merged[key] = _merge_entries(below if isinstance(below, list) else [], value)
        else:
            merged[key] = _merge(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _check_numbers(entries: Any, values: dict[str, Any], problems: list[Problem]) -> None:
    """Drops the providers of the environment whose number is not the next one."""
    numbered = values.get("providers")
    if not isinstance(numbered, dict):
        return
    count = len(entries) if isinstance(entries, list) else 0
    for number in sorted(numbered, key=lambda each: int(each) if each.isdecimal() else -1):
        if number.isdecimal() and int(number) <= count and number == str(int(number)):
            count = max(count, int(number) + 1)
            continue
        del numbered[number]
        name = f"environment variable SOPHIA_PROVIDERS__{number.upper()}"
        problems.append(Problem(name, "is not the number of a provider.", f"They count from 0; {count} is the next."))
    if not numbered:
        del values["providers"]


def _merge_entries(below: list[Any], numbered: dict[str, Any]) -> list[Any]:
    """A list of tables with those of the environment, such as SOPHIA_PROVIDERS__0__MODEL, put over or behind them."""
    entries = list(below)
    for number in sorted(numbered, key=int):
        if int(number) < len(entries) and isinstance(entries[int(number)], dict):
            entries[int(number)] = _merge(entries[int(number)], numbered[number])
        else:
            entries.append(numbered[number])
    return entries


def _drop_wrong(
    error: ValidationError,
    tables: dict[str, Any],
    values: dict[str, Any],
    path: Path,
    text: str,
    problems: list[Problem],
) -> bool:
    """Removes each wrong value from where it came from and names it; False when none could be removed."""
    found: list[Problem] = []
    out: set[tuple[str | int, ...]] = set()
    # From the last to the first: where an entry is taken out of a list, those before it stay where they are.
    for each in reversed(error.errors()):
        location = tuple(part for part in each["loc"] if part != "[key]")
        message = _explain(each["type"], each["msg"], location)
        if isinstance(location[-1], int) and len(location) > 2:
            location = location[:-1]  # a list of words stands or falls as a whole
        gone = next((entry for entry in out if location[: len(entry)] == entry), ())
        if not gone and _remove(values, location):
            name = "SOPHIA_" + "__".join(map(str, location)).upper()
            found.append(Problem(f"environment variable {name}", message, "Its default is used."))
        elif gone or (gone := _remove(tables, location)):
            if len(gone) == 2 and gone[0] == "providers" and gone not in out:
                _move_up(values, gone[1])
            if isinstance(gone[-1], int):
                out.add(gone)
            where = _where(path, text, gone if each["type"] == "missing" else location)
            found.append(Problem(where, message, _fix(each["type"], location)))
    problems.extend(reversed(found))
    return bool(found)


def _move_up(values: dict[str, Any], gone: str | int) -> None:
    """An entry of the file is left out: what the environment says of it goes too, and of those after it moves up."""
    numbered = values.get("providers")
    if isinstance(numbered, dict):
        left = {int(number): entry for number, entry in numbered.items() if int(number) != gone}
        values["providers"] = {str(n - (n > int(gone))): entry for n, entry in left.items()}


def _remove(tree: Any, location: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Takes the value out of nested tables; returns where it stood, or () when it is not there.
    A wrong entry of a list takes the whole entry with it, so that what is left is valid."""
    for depth, part in enumerate(location):
        if isinstance(tree, list) and isinstance(part, int) and part < len(tree):
            if depth + 1 == len(location) or not _is_optional(tree[part], location[depth + 1 :], location):
                del tree[part]
                return location[: depth + 1]
            tree = tree[part]
        elif isinstance(tree, dict) and isinstance(part, int) and str(part) in tree:
            if depth + 1 == len(location) or location[depth + 1] not in tree[str(part)]:
                del tree[str(part)]
                return location[: depth + 1]
            tree = tree[str(part)]
        elif isinstance(tree, dict) and part in tree:
            if depth + 1 == len(location) or not isinstance(tree[part], dict | list):
                del tree[part]
                return location[: depth + 1]
            tree = tree[part]
        else:
            return ()
    return ()


def _is_optional(entry: Any, rest: tuple[str | int, ...], location: tuple[str | int, ...]) -> bool:
    field = _model_at(location[: -len(rest)]).model_fields.get(str(rest[0]))
    return isinstance(entry, dict) and rest[0] in entry and (field is None or not field.is_required())


def _model_at(tables: tuple[str | int, ...]) -> type[BaseModel]:
    """What the table there, or the entry of a list of tables, is checked against."""
    model: type[BaseModel] = Settings
    for part in tables:
        if isinstance(part, str) and part in model.model_fields:
            kind = model.model_fields[part].annotation
            kind = next(iter(get_args(kind)), None) if get_origin(kind) is tuple else kind
            model = kind if isinstance(kind, type) and issubclass(kind, BaseModel) else model
    return model


def _explain(kind: str, message: str, location: tuple[str | int, ...]) -> str:
    name = ".".join(str(part) for part in location)
    if kind == "extra_forbidden":
        return f"{name!r} is not a setting."
    if kind == "missing":
        return f"{name!r} is needed."
    message = message.removeprefix("Value error, ")
    return f"{name!r}: {message[:1].lower()}{message[1:]}."


def _fix(kind: str, location: tuple[str | int, ...]) -> str:
    if kind == "missing":
        return "This entry is left out until then."
    if kind != "extra_forbidden":
        return "Its default is used."
    near = difflib.get_close_matches(str(location[-1]), _names_beside(location), n=1)
    return f"Did you mean {near[0]!r}?" if near else "See docs/settings.md for all of them."


def _names_beside(location: tuple[str | int, ...]) -> list[str]:
    return [name for name in _model_at(location[:-1]).model_fields if name not in SECRETS]


def _where(path: Path, text: str, location: tuple[str | int, ...]) -> str:
    line = line_of(text, location)
    return f"{path}:{line}" if line else str(path)
