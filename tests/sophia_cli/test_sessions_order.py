"""`sophia sessions` shows the order that people made among their sessions."""

from __future__ import annotations

import json

from local_store import StorePaths, open_store
from sophia_cli import sessions
from sophia_cli.parser import parse
from sophia_core.settings import Loaded
from tests.sophia_cli.harness import Piped


async def listing(loaded: Loaded, pipe: Piped, *words: str) -> str:
    before = len(pipe.out)
    _, args = parse("sessions", words)
    assert await sessions.sessions(args, loaded, pipe.console) == 0
    return pipe.out[before:]


async def test_the_list_tells_of_pins_folders_and_tags_where_there_are_any(loaded: Loaded, pipe: Piped) -> None:
    paths = StorePaths(loaded.paths.store_dir, loaded.paths.device_dir)
    async with await open_store(paths, allow_keyring=False) as store:
        first, second, third = [(await store.sessions.create(name)).id for name in ("first", "second", "third")]
    assert (await listing(loaded, pipe)).splitlines()[0].split() == ["ID", "USED", "MESSAGES", "TITLE"]
    async with await open_store(paths, allow_keyring=False) as store:
        await store.organising.pin(first)
        await store.organising.move(second, "Work")
        await store.organising.tag(second, ["sea", "sun"])
        await store.organising.archive(third)
    lines = (await listing(loaded, pipe)).splitlines()
    assert lines[0].split() == ["ID", "USED", "MESSAGES", "PINNED", "FOLDER", "TAGS", "TITLE"]
    assert [line.split()[-1] for line in lines[1:]] == ["first", "second"]
    assert "yes" in lines[1] and "Work" in lines[2] and "sea, sun" in lines[2]
    for words in (("--folder", "work"), ("list", "--tag", "SEA"), ("--tag", "sun", "list", "--folder", "Work")):
        assert [each["id"] for each in json.loads(await listing(loaded, pipe, "--json", *words))] == [second]
    (archived,) = json.loads(await listing(loaded, pipe, "list", "--archived", "--json"))
    assert archived["id"] == third and archived["archived"] is True
