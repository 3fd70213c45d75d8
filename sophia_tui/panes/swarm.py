"""The swarm pane: runs, one of them as a graph, over time and step by step, and what waits for a person."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar, Final

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Container, Vertical
from textual.getters import query_one
from textual.reactive import reactive
from textual.widgets import Static

from backend_client.errors import BackendError
from local_store.errors import StoreError
from sophia_core.commands import CommandError
from sophia_core.metrics.view.text import Line, Piece
from sophia_core.sanitize import one_line
from sophia_core.swarm.view import sections
from sophia_core.swarm.view.graph import Graph
from sophia_core.swarm.view.grouping import Groups, graph_of, groups_of, in_order, listed, speaks_for
from sophia_core.swarm.view.looking import Looking, Source, SwarmSeen
from sophia_core.swarm.view.sections import Listing
from sophia_core.swarm.view.state import OF_A_RUN, SECTIONS, PaneState
from sophia_core.swarm.view.words import ending, event_at, header, slider
from sophia_tui.metrics.sheet import Sheet
from sophia_tui.swarm.bar import SwarmBar
from sophia_tui.swarm.keys import BINDINGS, hints
from sophia_tui.swarm.page import Mark, Page, Written
from sophia_tui.swarm.wishes import Ask, Wishes

Run = Callable[..., None]
"""Runs a command by its name, with what it is given."""
EVERY_S: Final = 0.25
FAR_S: Final = 1.0
"""Where the way to the terminal is long."""
LISTS: Final = 4
"""Looks at the run between two at everything else."""
WIDE: Final = 140
"""Cells from which on what a step is stands beside the others, not below them."""
WITH_ABOUT: Final = frozenset({"graph", "time", "agents", "approvals", "dead"})


class SwarmPane(Vertical):
    """Looks four times a second, as long as somebody looks at it."""

    DEFAULT_CSS = """
    SwarmPane { height: 1fr; padding: 0 1; }
    SwarmPane > #run-head, SwarmPane > #ending, SwarmPane > #slider { height: 1; }
    SwarmPane > #swarm-keys { height: 1; color: $text-muted; }
    SwarmPane > #sides { height: 1fr; layout: vertical; margin: 1 0 0 0; }
    SwarmPane #list { height: 1fr; }
    SwarmPane #about { height: 1fr; display: none; border-top: solid $border-blurred; }
    SwarmPane.-about #about { display: block; }
    SwarmPane.-wide > #sides { layout: horizontal; }
    SwarmPane.-wide #list { width: 3fr; }
    SwarmPane.-wide #about { width: 2fr; border-top: none; border-left: solid $border-blurred; padding: 0 0 0 1; }
    SwarmPane.-low > #sides { margin: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [*BINDINGS]

    state: reactive[PaneState] = reactive(PaneState(), init=False)
    head = query_one("#run-head", Sheet)
    bar = query_one(SwarmBar)
    page = query_one("#list", Page)
    about = query_one("#about", Page)
    slider = query_one("#slider", Page)

    def __init__(
        self,
        source: Source,
        run: Run,
        *,
        ascii_only: bool = False,
        clock: Callable[[], float] = time.time,
        ask: Ask | None = None,
    ) -> None:
        """`run` runs what the keys and the mouse ask for; `ask` asks the person for a text."""
        super().__init__(id="swarm")
        self._looking, self._run, self._ascii, self._clock = Looking(source, clock), run, ascii_only, clock
        self.wishes = Wishes(self, run, ask)
        self.seen = SwarmSeen()
        self._sides = (False, False, 0)
        self._busy = False
        self._wanted = False
        self._groups: tuple[str, Groups] | None = None
        self._graph: tuple[tuple[str, int, int], Graph] | None = None
        self._keys: Listing = sections.text(())
        self.looks = 0
        """How often it looked, for those who count."""

    def show_of(self, source: Source, clock: Callable[[], float]) -> None:
        """Shows what somebody else tells from now on, by their clock."""
        self._looking, self._clock, self.looks = Looking(source, clock), clock, 0
        self.tick()

    def compose(self) -> ComposeResult:
        for name in ("run-head", "ending"):
            sheet = Sheet(id=name)
            sheet.can_focus = False
            yield sheet
        yield SwarmBar()
        with Container(id="sides"):
            yield Page(id="list")
            yield Page(id="about")
        rail = Page(id="slider")
        rail.can_focus = False
        yield rail
        yield Static("", id="swarm-keys", markup=False)

    def on_mount(self) -> None:
        self.set_interval(FAR_S if self.app.has_class("-far") else EVERY_S, self.tick)
        self.query_one("#ending").display = False
        self.tick()

    def on_show(self) -> None:
        """The keys are the page's."""
        self.tick()
        self.take_keys()

    def take_keys(self) -> None:
        """The keys are the page's where they are nobody's."""
        if self.is_mounted and self.is_on_screen and self.screen.focused is None:
            self.page.focus(scroll_visible=False)

    def on_descendant_blur(self) -> None:
        """The pane was chosen once more, which takes the focus from whatever had it."""
        self.call_after_refresh(self.take_keys)

    def on_resize(self, event: events.Resize) -> None:
        """The lines are laid out anew for another width."""
        self.call_after_refresh(self.show)

    # Looking

    def tick(self) -> None:
        """Looks, unless nobody looks at it; one look at a time."""
        if not self.is_mounted or not self.is_on_screen:
            return
        self._wanted = True
        if not self._busy:
            self._busy = True
            looking: Any = self._look  # not a coroutine: it may be replaced before it begins
            self.run_worker(looking, group="swarm-look", exit_on_error=True)

    async def _look(self) -> None:
        try:
            while self._wanted:
                self._wanted = False
                lists = self.looks % LISTS == 0
                self.looks += 1
                state = self.state
                self.seen = await self._looking.look(state.run, state.at, lists=lists)
        except (StoreError, CommandError, BackendError, OSError) as error:
            self._looking.forget()
            self.looks = 0
            words = " ".join(filter(None, (one_line(str(error)), getattr(error, "hint", ""))))
            self.seen = SwarmSeen(note=words or "Nothing can be read now.")
        finally:
            self._busy = False
        if self.is_mounted:
            self.show()

    async def settled(self) -> None:
        """Looks now, at everything; for those who cannot wait."""
        self.looks = 0
        self.tick()

    @property
    def now(self) -> int:
        """Milliseconds since the epoch where one looks: in the past, that of the event."""
        view = self.seen.view
        if self.state.at is not None and view is not None:
            return view.at
        return int(self._clock() * 1000)

    def mark_at(self, step: int) -> int | None:
        """The event beside the one that is looked at, at which something began, ended or was asked."""
        history = self._looking.history(self.run_id)
        if history is None:
            return None
        return history.mark(self.state.at if self.state.at is not None else history.now.number, step)

    @property
    def run_id(self) -> str:
        """The run that is looked at."""
        return self.seen.view.id if self.seen.view is not None else self.state.run

    @property
    def step_id(self) -> str:
        """The step that is meant: what the cursor is on, or the first there is."""
        view = self.seen.view
        if view is None or not view.steps:
            return ""
        at = self.state.step if self.state.step in view.steps else next(iter(view.steps))
        return speaks_for(view, self.groups, at) if self.state.section in ("graph", "step") else at

    @property
    def groups(self) -> Groups:
        """The steps by what they were made of."""
        view = self.seen.view
        if view is None:
            return Groups(0, {}, {})
        if self._groups is None or self._groups[0] != view.id or self._groups[1].shape != view.shape:
            self._groups = (view.id, groups_of(view))
        return self._groups[1]

    @property
    def graph(self) -> Graph:
        """The graph of the run."""
        width = max(20, self.page.size.width - 1)
        key = (self.run_id, self.groups.shape, width)
        if self._graph is None or self._graph[0] != key:
            self._graph = (key, graph_of(self.groups, width, ascii_only=self._ascii))
        return self._graph[1]

    # Showing

    def watch_state(self, before: PaneState, now: PaneState) -> None:
        """A person chose something: what is known of it is shown at once, the rest as soon as it is read."""
        if not self.is_mounted:
            return
        if before.section != now.section:
            self.page.scroll_home(animate=False)
            self.about.begin_anew()
        elif before.key != now.key:
            self.about.begin_anew()
        if (before.run, before.at) != (now.run, now.at):
            self.tick()
        self.show()

    def show(self) -> None:
        """Shows what is known."""
        if not self.is_mounted or not self.size.width:
            return
        state, width = self.state, self.content_size.width
        self.set_class(width >= WIDE, "-wide")
        self.set_class(self.size.height < 22, "-low")
        self.set_class(state.section in WITH_ABOUT and self._has_rows(), "-about")
        sides = (self.has_class("-wide"), self.has_class("-about"), width)
        if sides != self._sides:
            self._sides = sides
            self.call_after_refresh(self.show)  # once both sides have their new widths
        self.head.show([self._header(width)])
        self.bar.current = state.section
        self.bar.counts = {each: sections.count_of(self.seen, state, each) for each in SECTIONS}
        self._show_ending(width)
        self._show_list()
        self._share_room()
        self._show_about()
        self._show_slider(width)
        words = hints(state.section, self.seen, state, self._ascii, width)
        self.query_one("#swarm-keys", Static).update(words, layout=False)

    def _header(self, width: int) -> Line:
        if self.seen.note:
            return (Piece(self.seen.note, "warning"),)
        return header(self.seen.view, self.now, width, at=self.state.at, ascii_only=self._ascii)

    def _show_ending(self, width: int) -> None:
        words, tone = ending(self.seen.view) if self.seen.view is not None else ("", "")
        sheet = self.query_one("#ending", Sheet)
        sheet.display = bool(words) and self.state.section in OF_A_RUN
        sheet.show([(Piece(one_line(words, max(8, width)), tone),)])

    def _show_slider(self, width: int) -> None:
        view = self.seen.view
        self.slider.display = view is not None and self.state.section in OF_A_RUN and self.seen.newest > 0
        if view is not None:
            line = slider(self.state.at, view, self.seen.newest, width, ascii_only=self._ascii)
            self.slider.write([line])

    def _has_rows(self) -> bool:
        match self.state.section:
            case "approvals":
                return bool(self.seen.asked)
            case "dead":
                return bool(self.seen.dead)
            case _:
                return self.seen.view is not None and bool(self.seen.view.steps)

    def _show_list(self) -> None:
        self._keys = listing = self._listing(max(20, self.page.size.width - 1))
        if self.state.section == "graph" and self.seen.view is not None and listing.count and self.graph.places:
            self.page.write([*map(listing.line, range(listing.count))], mark=self._mark())
            return
        cursor = self._cursor(listing)
        lines = Written(listing.count, listing.line)
        self.page.write(lines, listing.head, rows=bool(listing.keys), cursor=cursor)

    def _listing(self, width: int) -> Listing:
        seen, state, ascii_only = self.seen, self.state, self._ascii
        view = seen.view
        match state.section:
            case "runs":
                return sections.runs(seen, width, ascii_only=ascii_only)
            case "approvals":
                return sections.asked(seen, width, ascii_only=ascii_only) if seen.asked else self._empty(width)
            case "dead":
                return sections.dead(seen, width, ascii_only=ascii_only) if seen.dead else self._empty(width)
            case "workers":
                return sections.workers(seen, width, ascii_only=ascii_only) if seen.workers else self._empty(width)
        if view is None or not view.steps:
            return self._empty(width)
        match state.section:
            case "graph":
                return sections.graph(view, self.groups, self.graph, self.now, ascii_only=ascii_only)
            case "time":
                return sections.bars(view, self.groups, self.now, width, ascii_only=ascii_only)
            case "agents":
                return sections.agents(view, self.groups, seen, self.now, width, ascii_only=ascii_only)
            case _:
                return sections.about_step(seen, self.step_id, self.now, width, ascii_only=ascii_only)

    def _empty(self, width: int) -> Listing:
        return sections.empty(self.state.section, width)

    def _cursor(self, listing: Listing) -> int | None:
        key = self.state.plan if self.state.section == "runs" and not self.seen.runs else self.state.key
        if not listing.keys:
            return None
        try:
            return listing.keys.index(key)
        except ValueError:
            return 0 if not key else min(self.page.cursor, listing.count - 1)

    def _mark(self) -> Mark | None:
        graph = self.graph
        at = self.state.step
        at = at if at in graph.places else _group(self.groups, at)
        place = graph.places.get(at) or (graph.places[in_order(graph)[0]] if graph.places else None)
        return Mark(place.row, place.x, place.width) if place is not None else None

    def _share_room(self) -> None:
        """Above what a step is, a short list takes no more than it needs."""
        if not self.has_class("-about") or self.has_class("-wide"):
            self.page.styles.height = "1fr"
            return
        room = self.query_one("#sides").size.height // 2
        self.page.styles.height = max(3, min(len(self.page.written) + self.page.above + 1, room))

    def _show_about(self) -> None:
        if not self.has_class("-about"):
            return
        width = max(20, self.about.size.width - 2)
        match self.state.section:
            case "approvals":
                asked = self.wishes.asked()
                listing = sections.about_request(asked, width) if asked is not None else sections.text(())
            case "dead":
                dead = self.wishes.dead()
                listing = sections.about_dead(dead, width) if dead is not None else sections.text(())
            case _:
                listing = sections.about_step(self.seen, self.step_id, self.now, width, ascii_only=self._ascii)
        self.about.write(Written(listing.count, listing.line))

    @property
    def step_ids(self) -> list[str]:
        """The steps in the order that the cursor goes through them."""
        if self.seen.view is None:
            return []
        return in_order(self.graph) if self.state.section == "graph" else listed(self.seen.view, self.groups)

    @property
    def keys(self) -> Mapping[int, str]:
        """What each row of the list is."""
        return dict(enumerate(self._keys.keys))

    # What keys and mouse ask for

    def action_wish(self, name: str, *args: str) -> None:
        """A key of the pane: a command."""
        self._run(name, *args)

    def action_do(self, what: str) -> None:
        """A key whose command is about what the cursor is on."""
        self.wishes.do(what)

    @on(SwarmBar.Chosen)
    def _section_chosen(self, event: SwarmBar.Chosen) -> None:
        event.stop()
        self._run("swarm.view", event.section)

    @on(Page.Moved)
    def _moved(self, event: Page.Moved) -> None:
        event.stop()
        if event.page is self.page and event.row < len(self._keys.keys):
            key = self._keys.keys[event.row]
            plans = self.state.section == "runs" and not self.seen.runs
            self.state = replace(self.state, plan=key) if plans else self.state.on(key)

    @on(Page.Stepped)
    def _stepped(self, event: Page.Stepped) -> None:
        event.stop()
        self._run("swarm.step", "next" if event.step > 0 else "previous")

    @on(Page.Turned)
    def _turned(self, event: Page.Turned) -> None:
        """Through the past of a run, step by step; elsewhere a page of the list."""
        event.stop()
        if event.page is self.page and self.state.section in OF_A_RUN:
            self._run("swarm.at", "step_on" if event.step > 0 else "step_back")
        else:
            event.page.turn(event.step)

    @on(Page.Touched)
    def _touched(self, event: Page.Touched) -> None:
        event.stop()
        if event.page is self.slider:
            long = sum(len(each.text) for each in self.slider.lines[0][:3])
            self._run("swarm.at", str(event_at(event.x, self.seen.newest, long - 2)))
            return
        for group, place in self.graph.places.items() if self.state.section == "graph" else ():
            if place.row == event.y and place.x <= event.x < place.x + place.width:
                self._run("swarm.view", "step") if event.twice else self._run("swarm.step", group)

    @on(Sheet.Entered)
    def _entered(self, event: Sheet.Entered) -> None:
        event.stop()
        self.wishes.do("enter")


def _group(groups: Groups, step_id: str) -> str:
    return next((group for group, ids in groups.members.items() if step_id in ids), step_id)
