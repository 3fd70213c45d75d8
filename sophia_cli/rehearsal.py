"""Faults on purpose, from the command line: a profile in front of the real servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sophia_cli.exits import USAGE, Quit

if TYPE_CHECKING:
    from backend_client.chaos_profile import ChaosProfile
    from backend_client.transport import Transport


def profile_of(path: str) -> ChaosProfile:
    """The profile in a file. Raises Quit for one that cannot be read or understood."""
    from backend_client.chaos_profile import load_profile

    try:
        return load_profile(path)
    except OSError as error:
        raise Quit(USAGE, f"{path!r} cannot be read: {error.strerror}", "docs/chaos.md shows a profile.") from None
    except ValueError as error:
        raise Quit(USAGE, f"{path!r} is no chaos profile: {error}", "docs/chaos.md shows one.") from None


def transport_of(path: str | None) -> Transport | None:
    """A transport that fails as the profile says; None without one. Raises Quit."""
    if path is None:
        return None
    from backend_client.chaos import ChaosTransport
    from backend_client.transport import HttpTransport

    return ChaosTransport(HttpTransport(), profile_of(path))
