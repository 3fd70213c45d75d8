"""What is asked of the embedded model, what it reports, and how it says no."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

Stage = Literal["weights", "assemble", "verify", "load", "ready", "failed", "stopped"]

INSTALL_HINT = "install it with: pip install 'sophia-workstation[embedded]', or point SOPHIA_BASE_URL at another server"


@dataclass(frozen=True, slots=True)
class EmbeddedOptions:
    """Which model the embedded server runs, and with how much of the machine."""

    model_path: Path | None = None
    """Any GGUF file to use instead of the default model; its content is not checked against a hash."""
    context: int = 8192
    """Tokens of prompt and answer together; the default model takes about 12 KiB of memory for each."""
    threads: int | None = None
    """Threads that compute. None reads the prompt with one for each core and writes with one less, at most eight."""
    download: bool = True
    """Whether the weights may be fetched from the model's home when nothing local has them."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the way to a ready model is."""

    stage: Stage
    fraction: float | None
    """Part of this stage that is done, 0 to 1; None where it cannot be known."""
    detail: str
    """One line for a person."""


OnProgress = Callable[[Progress], None]


class Fetch(Protocol):
    """Downloads a file: yields its bytes from `offset` on, and raises OSError or BackendError when it cannot.

    It has to follow redirects to other https addresses, and to raise when a server does not honour the offset.
    """

    def __call__(self, url: str, offset: int) -> AsyncIterator[bytes]: ...


class LaunchFailed(Exception):
    """The child did not come up; the message holds the first it complained of."""


class WeightsError(Exception):
    """The model's weights cannot be had; `hint` says what the person can do."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint
