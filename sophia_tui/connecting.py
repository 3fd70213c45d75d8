"""The connection wizard: finds servers, looks at one, asks for what it needs, and writes it down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sophia_core.commands import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from backend_client.discover import Exporter, Found
    from sophia_tui.app import SophiaApp

OWN = "another address …"
HERE = "Which server? Those of this machine were looked for at their usual ports."
NOBODY = "No server answers at the usual ports of this machine. Name an address."
ADDRESS = "Address of the server"
EXAMPLE = "http://gpu-box:8000/v1"


class Connecting:
    """Used from workers only: it waits for a person. Esc anywhere gives up, and nothing is written."""

    def __init__(self, app: SophiaApp) -> None:
        self._app = app
        self._exporters: Sequence[Exporter] = ()

    async def connect(self) -> str | None:
        """Leads from nothing to a provider that answers; what to say at the end. Raises CommandError."""
        found = await self._found()
        if found is None:
            return None
        key = ""
        while found.wants_key and not found.usable:
            typed = await self._secret(found, again=bool(key))
            if typed is None:
                return None
            key = typed
            found = await self._look(found.base_url, key)
        if not found.usable:
            raise CommandError(f"{found.base_url}: {found.error}", found.hint)
        return await self._add(found, key)

    async def _found(self) -> Found | None:
        self._app.dispatcher.say("Looking for servers on this machine …")
        servers, exporters = await self._app.runtime.server_side.connecting.here()
        self._exporters = exporters
        self._app.dispatcher.forget()
        chosen = await self._pick_server(servers, exporters) if servers else OWN
        if chosen is None:
            return None
        if chosen != OWN:
            return next(each for each in servers if each.base_url == chosen)
        return await self._typed("" if servers else NOBODY)

    async def _typed(self, why: str) -> Found | None:
        """An address that answers, or that wants a key; asked for until there is one."""
        from sophia_tui.screens.ask_text import AskText

        typed = ""
        while True:
            given = await self._app.push_screen_wait(AskText(ADDRESS, typed, EXAMPLE, detail=why))
            if given is None:
                return None
            found = await self._look(given)
            if found.usable or found.wants_key:
                return found
            typed, why = given, f"{found.error[:1].upper()}{found.error[1:]}. {found.hint}"

    async def _look(self, address: str, key: str = "") -> Found:
        self._app.dispatcher.say(f"Asking {address} …")
        found = await self._app.runtime.server_side.connecting.look(address, key)
        self._app.dispatcher.forget()
        return found

    async def _pick_server(self, servers: Sequence[Found], exporters: Sequence[Exporter]) -> str | None:
        from sophia_tui.screens.pick import Pick, PickItem

        items = [PickItem(each.base_url, each.base_url, _about(each)) for each in servers]
        measured = "; ".join(f"{each.name} exporter: {each.url}" for each in exporters)
        title = f"{HERE} Also here: {measured}." if measured else HERE
        return await self._app.push_screen_wait(Pick(title, [*items, PickItem(OWN, OWN)]))

    async def _secret(self, found: Found, *, again: bool) -> str | None:
        from sophia_core.connecting import open_way
        from sophia_tui.asking import Asking

        title = f"{'That key was refused. ' if again else ''}API key for {found.base_url}"
        return await Asking(self._app).ask_secret(title + open_way(found.base_url), confirm=False)

    async def _add(self, found: Found, key: str) -> str | None:
        from sophia_core.connecting import name_for
        from sophia_tui.screens.ask_text import AskText
        from sophia_tui.screens.pick import Pick, PickItem

        model = found.models[0].id
        if len(found.models) > 1:
            items = [PickItem(card.id, card.id, _window(card.context_window)) for card in found.models]
            picked = await self._app.push_screen_wait(Pick("Which model?", items))
            if picked is None:
                return None
            model = picked
        connecting = self._app.runtime.server_side.connecting
        wanted = name_for(found.base_url, connecting.names, found.kind)
        name = await self._app.push_screen_wait(AskText("What shall it be called?", wanted, detail=_all(found)))
        if not name:
            return None
        said = str(await self._app.runtime.run("provider.add", name.strip(), found.base_url, model))
        kept = await self._keep(name.strip(), key)
        return " ".join(filter(None, (said, kept, await self._measure())))

    async def _measure(self) -> str:
        """Offers to ask what measures this machine for its numbers, too."""
        from sophia_core.metrics.targets import offers
        from sophia_tui.screens.pick import Pick, PickItem

        offered = offers((), self._exporters, self._app.runtime.metrics.targets)
        if not offered:
            return ""
        which = " and ".join(f"the {each.kind} exporter" for each in offered)
        title = f"Show what {which} of this machine measure, too?"
        items = [PickItem("yes", "Yes", ", ".join(each.url for each in offered)), PickItem("no", "No")]
        if await self._app.push_screen_wait(Pick(title, items)) != "yes":
            return ""
        said = [await self._app.runtime.run("metrics.add", each.name, each.url, each.kind) for each in offered]
        return " ".join(map(str, said))

    async def _keep(self, name: str, key: str) -> str:
        """Puts the key into the encrypted store; it stands in no file."""
        if not key:
            return ""
        from backend_client.auth import Secret

        return await self._app.runtime.login.keep_key(name, Secret(key))


def _window(tokens: int | None) -> str:
    return f"{tokens:,} tokens" if tokens else ""


def _about(found: Found) -> str:
    models = ", ".join(card.id for card in found.models[:2]) or "wants a key"
    return f"{found.kind or ''} {models} · {found.latency_ms:.0f} ms".strip()


def _all(found: Found) -> str:
    from backend_client.discover import summary

    return "\n".join(summary(found))
