"""What the pane shows and which thing in it is meant; pure. The commands change it, the pane draws it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias, get_args

Section: TypeAlias = Literal["runs", "graph", "time", "agents", "step", "approvals", "dead", "workers"]
SECTIONS: Final[tuple[Section, ...]] = get_args(Section)
TITLES: Final[dict[Section, str]] = {
    "runs": "Runs", "graph": "Graph", "time": "Time", "agents": "Agents", "step": "Step", "approvals": "For you",
    "dead": "Given up", "workers": "Workers",
}  # fmt: skip
OF_A_RUN: Final = frozenset({"graph", "time", "agents", "step"})
"""What is of one run, and of one moment of it."""


@dataclass(frozen=True, slots=True)
class PaneState:
    """Everything a person chose; an empty id means the first there is."""

    section: Section = "runs"
    run: str = ""
    step: str = ""
    asked: str = ""
    dead: str = ""
    """`run/step`."""
    worker: str = ""
    plan: str = ""
    at: int | None = None
    """The event that the run is shown at; None: the newest, as it comes."""

    def beside(self, step: int) -> PaneState:
        """The section to the right or left."""
        return replace(self, section=SECTIONS[(SECTIONS.index(self.section) + step) % len(SECTIONS)])

    def of_run(self, run: str) -> PaneState:
        """Another run, as it is now."""
        return self if run == self.run else replace(self, run=run, step="", at=None)

    @property
    def key(self) -> str:
        """The thing that the cursor is on, in this section."""
        return {"runs": self.run, "approvals": self.asked, "dead": self.dead, "workers": self.worker}.get(
            self.section, self.step
        )

    def on(self, key: str) -> PaneState:
        """The cursor on another thing of this section."""
        match self.section:
            case "runs":
                return self.of_run(key)
            case "approvals":
                return replace(self, asked=key)
            case "dead":
                return replace(self, dead=key)
            case "workers":
                return replace(self, worker=key)
            case _:
                return replace(self, step=key)


def section_named(name: str) -> Section | None:
    """The section of this name."""
    return name if name in SECTIONS else None
