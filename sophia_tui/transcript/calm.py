"""Keeping the garbage collector from stopping a stream."""

from __future__ import annotations

import gc


def calm_collector() -> None:
    """Set everything that is alive now apart from later collections, and collect less often.

    Call it once, when the app stands: a full collection then looks only at what came later, a few milliseconds instead
    of tens. It concerns the whole process,
    and turns the collector on where it was off; a collection now would itself be the longest block of all.
    """
    gc.freeze()
    gc.set_threshold(5_000, 8, 125)  # the middle one stays short: a plot makes many things, and all at once
    gc.enable()
