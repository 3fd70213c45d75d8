"""The settings of the metrics: what is asked for its numbers, how often, and how long they are kept."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from sophia_core.setting_kinds import Address, Name, Section

Seconds = Annotated[float, Field(ge=0.2, le=3600)]


class MetricsTarget(Section):
    """Something that tells numbers in Prometheus' text format, beside the providers' own `/metrics`."""

    name: Name = Field(description="What the pane calls it.")
    url: Address = Field(description="Where it tells them, usually ending in `/metrics`.")
    kind: Literal["vllm", "llamacpp", "dcgm", "node", "gateway", "other"] | None = Field(
        None, description="Whose names it uses; found out when empty."
    )
    provider: str = Field("", max_length=64, description="The provider whose server or machine it is of.")
    api_key_env: str | None = Field(None, description="The environment variable that holds the key it asks for.")
    interval_s: Seconds | None = Field(None, description="Seconds between two looks; `metrics.interval_s` when empty.")


class MetricsSettings(Section):
    """What servers, this machine and the app itself measure; kept in the encrypted store, sent only where told."""

    enabled: bool = Field(True, description="Ask servers for their numbers while the app runs, and keep them.")
    providers: bool = Field(True, description="Ask the providers' own `/metrics`, where their kind of server has one.")
    interval_s: Seconds = Field(1.0, description="Seconds between two looks at a target.")
    timeout_s: Annotated[float, Field(gt=0, le=60)] = Field(5.0, description="Seconds a target may take to answer.")
    gpu: Literal["auto", "off"] = Field("auto", description="Measure this machine's own GPUs, where it has some.")
    keep_days: int = Field(400, ge=1, le=3650, description="Days that hourly numbers are kept; finer ones less long.")
    max_megabytes: int = Field(128, ge=4, le=4096, description="The most that all of them may take on the disk.")
    serve_port: int = Field(9464, ge=0, le=65_535, description="The port of `sophia metrics serve`; a free one when 0.")
    otlp_endpoint: Address | None = Field(
        None, description="A collector that gets every number (OTLP over HTTP), such as `http://127.0.0.1:4318`."
    )
    otlp_headers_env: str | None = Field(
        None, description="The environment variable that holds its headers: `name=value,name=value`."
    )
    otlp_interval_s: Annotated[float, Field(ge=1, le=3600)] = Field(60.0, description="Seconds between two tellings.")
    targets: tuple[MetricsTarget, ...] = Field((), description="What else is asked: one `[[metrics.targets]]` each.")
