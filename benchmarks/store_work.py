"""What is done to a store while it is killed or loses its power, and how what is left of it is judged.

    python -m benchmarks.store_work TASK FOLDER [--rounds N]

A task works on the store in FOLDER and appends one line of JSON to `acks` for everything the store has acknowledged, so
that the file never claims more than was promised. Before something is removed or replaced it says so too: from then on
either state is right. `store_promise` holds the store to that file.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import itertools
import json
import os
import random
import shutil
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from local_store import Argon2Cost, KeyPolicy, Store, StorePaths, engine, open_store
from local_store.keys import Credentials, open_keys

if TYPE_CHECKING:
    from local_store import Session

CHEAP = KeyPolicy(argon2=Argon2Cost(memory_kib=64, iterations=1, lanes=1))
PASSPHRASE = "correct horse"  # noqa: S105
WRITERS = 4
PIECES = 3
OLD_MESSAGES = 200
CONVERSATIONS, PER_CONVERSATION = 200, 20
LARGE_BLOB = 3 << 20
Fact = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Base:
    """One folder with everything a task works on."""

    folder: Path

    @property
    def paths(self) -> StorePaths:
        return StorePaths(self.folder / "store", self.folder / "device")

    @property
    def backups(self) -> Path:
        return self.folder / "backups"

    @property
    def acks(self) -> Path:
        return self.folder / "acks"

    def facts(self) -> list[Fact]:
        """What was told; a line that was cut short was not."""
        return parse_facts(self.acks.read_bytes())

    def tell(self, **fact: Any) -> None:
        """Append one line, past every buffer of ours."""
        descriptor = os.open(self.acks, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, json.dumps(fact).encode() + b"\n")
        finally:
            os.close(descriptor)


def parse_facts(told: bytes) -> list[Fact]:
    """The whole lines of what was told."""
    return [json.loads(line) for line in told.split(b"\n")[:-1]]


async def opened(base: Base, *, create: bool = False) -> Store:
    return await open_store(base.paths, passphrase=PASSPHRASE, allow_keyring=False, policy=CHEAP, create=create)


# -- tasks


async def write(base: Base, rounds: int) -> None:
    """Ask, stream, answer, rename, draft and delete in several sessions at once."""
    async with await opened(base) as store:
        await asyncio.gather(*(_converse(store, base, number, rounds) for number in range(WRITERS)))


async def _converse(store: Store, base: Base, number: int, rounds: int) -> None:
    session = await _session(store, base, f"Conversation {number}")
    parent: str | None = None
    key = f"draft-{os.urandom(4).hex()}"
    for turn_number in range(rounds):
        filler = os.urandom(random.choice((20, 400, 3000))).hex()
        turn = await store.turns.begin(session.id, parent, f"question {turn_number} {filler}", request_id="r")
        base.tell(message=turn.question.id, session=session.id, text=turn.question.text)
        said = ""
        for piece in range(PIECES):
            more = f"piece {piece} {filler[:200]} "
            await store.turns.journal(turn.answer.id, text=more)
            said += more
            base.tell(message=turn.answer.id, session=session.id, starts=said)
        await store.turns.finish(turn.answer.id, text=said + "end", status="complete")
        base.tell(message=turn.answer.id, session=session.id, text=said + "end", status="complete")
        parent = turn.answer.id
        await store.drafts.save(key, f"{turn_number} {filler}")
        base.tell(draft=key, number=turn_number)
        if turn_number % 3 == number % 3:
            entry = await store.audit.append("session.renamed", session.id)
            base.tell(audit=entry.seq)
        if turn_number % 5 == 4:
            gone = await _session(store, base, "Soon gone")
            base.tell(going=gone.id)
            await store.sessions.delete(gone.id)
            base.tell(gone=gone.id)


async def _session(store: Store, base: Base, title: str) -> Session:
    made = await store.sessions.create(title)
    base.tell(session=made.id, title=title)
    return made


async def create(base: Base, rounds: int) -> None:
    """Make a store where there is none, opened by a key of this device alone, and write in it."""
    async with await open_store(base.paths, allow_keyring=False, policy=CHEAP) as store:
        await _converse(store, base, 0, rounds)


async def migrate(base: Base, rounds: int) -> None:
    """Open a store that an earlier version wrote, and go on writing in it."""
    async with await opened(base) as store:
        await _converse(store, base, 0, rounds)


async def rotate(base: Base, rounds: int) -> None:
    """Exchange the keys again and again, with a session before each."""
    async with await opened(base) as store:
        for number in range(rounds):
            await _session(store, base, f"Before rotation {number}")
            await store.keys.rotate()
            base.tell(epoch=number)


async def backup(base: Base, rounds: int) -> None:
    """Make backups while somebody writes."""
    async with await opened(base) as store:
        writing = asyncio.ensure_future(_converse(store, base, 0, 1_000_000))
        for _ in range(rounds):
            made = await store.backups.make(base.backups)
            base.tell(backup=made.path.name)
        writing.cancel()
        await asyncio.wait([writing])


async def imports(base: Base, rounds: int) -> None:
    """Take in a few thousand messages; each report says how many are stored."""
    async with await opened(base) as store:
        for _ in range(rounds):
            await store.bulk.add(conversations(), progress=lambda report: base.tell(imported=report.messages))


def conversations() -> Iterator[Any]:
    """The same conversations every time."""
    from local_store.imports import Conversation, ImportMessage

    chance = random.Random(7)
    for number in range(CONVERSATIONS):
        told = [
            ImportMessage(
                key=str(key),
                role="user" if key % 2 == 0 else "assistant",
                text=f"imported {number} {key} {chance.randbytes(150).hex()}",
                parent=str(key - 1) if key else None,
                created_at=1_700_000_000_000 + number * 1000 + key,
            )
            for key in range(PER_CONVERSATION)
        ]
        yield Conversation("crash-test", str(number), f"Import {number}", told, created_at=1_700_000_000_000 + number)


async def restore(base: Base, rounds: int) -> None:
    """Put a backup in the place of a store that went on since."""
    from local_store.restore import restore_backup

    for _ in range(rounds):
        (path,) = base.backups.glob("*.sophia-backup")
        base.tell(restoring=True)
        await restore_backup(path, base.paths, Credentials(PASSPHRASE, None, False), CHEAP)
        base.tell(restored=True)


async def blobs(base: Base, rounds: int) -> None:
    """Attach small and large files to messages, and sweep."""
    from local_store.types import Part

    async with await opened(base) as store:
        session = await _session(store, base, "Pictures")
        for number in range(rounds):
            turn = await store.turns.begin(session.id, None, f"picture {number}", request_id="r")
            content = os.urandom(LARGE_BLOB if number % 3 == 2 else 5000)
            blob = await store.blobs.put(content, "image/png")
            part = Part(kind="image", name=f"{number}.png", blob=blob)
            await store.parts.add(turn.question.id, [part])
            base.tell(message=turn.question.id, session=session.id, text=turn.question.text)
            base.tell(blob=blob.id, sha=hashlib.sha256(content).hexdigest())
            await store.blobs.sweep()


async def purge(base: Base, rounds: int) -> None:
    """Remove sessions for good, with attachments of both kinds, while others stay."""
    from local_store.types import Part

    async with await opened(base) as store:
        for number in range(rounds):
            kept = await _session(store, base, f"Stays {number}")
            turn = await store.turns.begin(kept.id, None, "stays", request_id="r")
            base.tell(message=turn.question.id, session=kept.id, text="stays")
            gone = await _session(store, base, f"To be purged {number}")
            turn = await store.turns.begin(gone.id, None, f"purge {os.urandom(9000).hex()}", request_id="r")
            blob = await store.blobs.put(os.urandom(LARGE_BLOB if number % 2 else 5000), "image/png")
            await store.parts.add(turn.question.id, [Part(kind="image", blob=blob)])
            base.tell(going=gone.id)
            await store.purge.sessions([gone.id])
            base.tell(gone=gone.id)


async def salvage(base: Base, rounds: int) -> None:
    """Build the store anew from what can be read of it, which is everything."""
    from local_store.salvage import salvage_store

    for number in range(rounds):
        async with await opened(base) as store:
            await _session(store, base, f"Before salvage {number}")
        await salvage_store(base.paths, Credentials(PASSPHRASE, None, False), CHEAP)
        base.tell(salvaged=number)


Task = Callable[[Base, int], Awaitable[None]]
TASKS: dict[str, Task] = {
    "create": create,
    "write": write,
    "migrate": migrate,
    "rotate": rotate,
    "backup": backup,
    "import": imports,
    "restore": restore,
    "blobs": blobs,
    "purge": purge,
    "salvage": salvage,
}


# -- what they begin with


async def prepare(base: Base, task: str, number: int) -> None:
    """Make the store a task begins with; `number` tells the cases of one task apart."""
    base.backups.mkdir(parents=True)
    base.acks.touch(0o600)
    if task == "create":
        return
    async with await opened(base, create=True) as store:
        first = await _session(store, base, "First")
        turn = await store.turns.begin(first.id, None, "Is it there?", request_id="r")
        base.tell(message=turn.question.id, session=first.id, text="Is it there?")
        await store.turns.finish(turn.answer.id, text="It is.", status="complete")
        base.tell(message=turn.answer.id, session=first.id, text="It is.", status="complete")
        base.tell(audit=(await store.audit.append("session.renamed", first.id)).seq)
        if task == "restore":
            await store.backups.make(base.backups)
            base.tell(since=True)
            await _session(store, base, "Since the backup")
    if task == "migrate":
        _make_old(base, 1 + number % 3)


def _make_old(base: Base, version: int) -> None:
    """Put a database of an earlier version in the place of the new one, with the same keys."""
    from tests.local_store import test_migrations as old

    keys = open_keys(base.paths, Credentials(PASSPHRASE, None, False), CHEAP, create=False)
    heads = [path for folder in (base.paths.root, base.paths.device_dir) for path in folder.glob("*.head")]
    for path in (*base.paths.root.glob("sophia.db*"), *heads, base.acks):
        path.unlink()
    base.paths.database.touch(0o600)
    more = f"""
        WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {OLD_MESSAGES})
        INSERT INTO message SELECT 1000 + i, printf('01X%06d', i), '01S', NULL, 'user', 'old ' || hex(randomblob(300)),
            '', 'complete', NULL, NULL, NULL, 'r', NULL, NULL, i, i FROM n;
    """  # noqa: S608
    steps = [old.V1 + old.BOOKKEEPING + old.DATA + more, old.V2 + old.UPGRADED, old.V3 + old.ORGANISED]
    connection = engine.Opener(base.paths.database, keys.database_keys()[0]).writer()
    connection.executescript("".join(steps[:version]))
    connection.execute("INSERT INTO meta VALUES ('store_id', ?)", [keys.store_id])
    told = connection.execute("SELECT id, text FROM message WHERE status = 'complete'").fetchall()
    connection.close()
    keys.forget()
    base.tell(session="01S", title="A trip")
    for message_id, text in told:
        base.tell(message=message_id, session="01S", text=text)


def copy_tree(source: Base, target: Path) -> Base:
    """A copy to be spoiled."""
    shutil.copytree(source.folder, target, symlinks=True)
    return Base(target)


def numbered(folder: Path) -> Iterator[Path]:
    """Names that are not taken yet."""
    return (folder / f"{number:04d}" for number in itertools.count())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=list(TASKS))
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=1)
    args = parser.parse_args()

    async def run() -> None:
        await TASKS[args.task](Base(args.folder), args.rounds)

    asyncio.run(run())


if __name__ == "__main__":
    main()
