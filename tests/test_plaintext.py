"""Nothing that somebody wrote, and no key, is in plain text in any file SOPHIA leaves behind, however it ends."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from local_store import Argon2Cost, KeyPolicy, StorePaths
from local_store.keys import Credentials, open_keys
from tests.backend_client.answers import Answer
from tests.backend_client.scenarios import SCENARIOS
from tests.contract_server import ContractServer

ROOT = Path(__file__).parents[1]
PATIENCE_S = 60.0
SHORTEST_RUN = 12
"""Characters of base64 that tell a mark from chance."""
KINDS = ["question", "answer", "partial", "imported", "importedtitle", "title"]
KINDS += ["draft", "secret", "tag", "folder", "audit", "file", "filename", "label"]
WRITTEN = {name: f"{name}plainquokka{number}" for number, name in enumerate(KINDS, start=48291)}
PASSPHRASE = "passphraseplainquokka77120"
CHILD = """
import asyncio, ctypes, json, os, resource, sys
from pathlib import Path
from local_store.samples import Sample
from local_store.types import Part
from sophia_core.runtime import open_runtime
from sophia_core.settings import load_settings

async def main():
    written = json.loads(sys.argv[1])
    async with open_runtime(load_settings()) as runtime:
        asked = await runtime.run("chat.send", written["question"])
        assert asked.status == "complete", asked
        session = runtime.current.session_id
        await runtime.run("session.rename", written["title"])
        store = await runtime.vault.get()
        await store.drafts.save("new", written["draft"])
        await store.secrets.set("token", written["secret"])
        await store.audit.append("session.renamed", written["audit"], {"detail": written["audit"]})
        await store.organising.tag(session, [written["tag"]])
        await store.organising.move(session, written["folder"])
        small = await store.blobs.put(written["file"].encode() * 100, "text/plain")
        large = await store.blobs.put(written["file"].encode() * 100_000, "text/plain")
        parts = [Part("file", written["filename"], blob=small), Part("file", written["filename"], blob=large)]
        await store.parts.add(asked.answer_id, parts)
        await store.metrics.append([Sample("tokens", 1.0, {"model": written["label"]})])
        await store.backups.make(Path(sys.argv[2]))
        await store.search.messages(written["question"])
        dumpable = ctypes.CDLL(None).prctl(3, 0, 0, 0, 0) if sys.platform == "linux" else 0
        print(json.dumps({"dumpable": dumpable, "core": resource.getrlimit(resource.RLIMIT_CORE)[0]}), flush=True)
        runtime.bus.subscribe(lambda event: print("event", type(event).__name__, flush=True))
        await runtime.run("chat.send", "partial please")

asyncio.run(main())
"""


async def marked(answer: Answer, arguments: list[str]) -> None:
    """Answers with a mark; one that was asked for a part stops half-way and waits."""
    await answer.begin()
    if "partial" in json.dumps(answer.seen.body["messages"][-1]):
        for _ in range(50):
            await answer.words(WRITTEN["partial"], " ")
        await asyncio.sleep(PATIENCE_S)
    await answer.words(WRITTEN["answer"])
    await answer.delta("stop", content="")
    await answer.usage()
    await answer.done()


def forms(mark: bytes) -> Iterator[tuple[str, bytes]]:
    """Every way in which a mark may lie in a file; texts are looked for in lower case."""
    yield "bytes", mark
    yield "hex", mark.hex().encode()
    for ahead in range(3):
        # In base64 what stands before a mark shifts it; the characters at its ends belong to its neighbours too.
        coded = base64.b64encode(bytes(ahead) + mark)[4 if ahead else 0 : -4]
        if len(coded) >= SHORTEST_RUN:
            yield "base64", coded
            yield "base64 for addresses", coded.replace(b"+", b"-").replace(b"/", b"_")
    try:
        text = mark.decode()
    except UnicodeDecodeError:
        return
    yield "utf-16", text.encode("utf-16-le")
    yield "utf-16", text.encode("utf-16-be")


def found(folder: Path, marks: Mapping[str, bytes]) -> list[str]:
    """Where the marks lie in the files below `folder`, and in their names."""
    wanted = [(name, form, each) for name, mark in marks.items() for form, each in forms(mark)]
    places = []
    for path in folder.rglob("*"):
        if any(mark in os.fsencode(path.name) for mark in marks.values()):
            places.append(f"the name of {path}")
        if not path.is_file():
            continue
        content = path.read_bytes()
        lower = content.lower()
        # Base64 keeps its case; words of the search index lost theirs.
        places += [f"{name} as {form} in {path}" for name, form, each in wanted if each in content or each in lower]
    return places


async def sophia(env: dict[str, str], cwd: Path, *command: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE

    def cores_allowed() -> None:
        limit = resource.getrlimit(resource.RLIMIT_CORE)[1]
        resource.setrlimit(resource.RLIMIT_CORE, (limit, limit))

    return await asyncio.create_subprocess_exec(
        sys.executable, *command, env=env, cwd=cwd, stdout=pipe, stderr=pipe, preexec_fn=cores_allowed
    )


async def ended(process: asyncio.subprocess.Process) -> tuple[int, str]:
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, (out + err).decode()


async def crashed(process: asyncio.subprocess.Process, how: signal.Signals) -> dict[str, int]:
    """Let the process begin its partial answer, end it so, and return what it said about itself."""
    assert process.stdout is not None
    said: dict[str, int] = {}
    texts = 0
    async with asyncio.timeout(PATIENCE_S):
        async for line in process.stdout:
            if line.startswith(b"{"):
                said = json.loads(line)
            texts += line == b"event TextDelta\n"
            if texts:
                break
    process.send_signal(how)
    code, told = await ended(process)
    assert texts, told
    assert code == -how
    return said


def keys_of(home: Path, passphrase: str | None) -> dict[str, bytes]:
    policy = KeyPolicy(argon2=Argon2Cost())
    keys = open_keys(
        StorePaths(home / "store", home / "device"), Credentials(passphrase, None, False), policy, create=False
    )
    return {
        "master key": keys._master_key(),
        "database key": keys.database_keys()[0],
        "audit key": keys.audit_head_key(),
    }


async def test_no_file_holds_what_was_written_nor_a_key(tmp_path: Path) -> None:
    home, work, user = tmp_path / "home", tmp_path / "work", tmp_path / "user"
    backups, temporary, outside = tmp_path / "backups", tmp_path / "temporary", tmp_path / "outside"
    scanned = (home, work, user, backups, temporary)
    for folder in (*scanned, outside):
        folder.mkdir()
    chat = {"uuid": "a", "sender": "human", "text": WRITTEN["imported"], "created_at": "2024-05-01T10:00:00Z"}
    conversation = {"uuid": "c", "name": WRITTEN["importedtitle"], "chat_messages": [chat]}
    (outside / "chats.json").write_text(json.dumps([conversation]))
    async with ContractServer() as server:
        SCENARIOS["marked"] = marked
        server.usual = "marked"
        kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL") if name in os.environ}
        places = {"HOME": str(user), "TMPDIR": str(temporary), "SOPHIA_HOME": str(home), "PYTHONPATH": str(ROOT)}
        model = {"SOPHIA_BASE_URL": server.base_url, "SOPHIA_MODEL": "contract-model", "SOPHIA_NO_KEYRING": "1"}
        env = kept | places | model | {"PYTHONDONTWRITEBYTECODE": "1"}
        came = await ended(await sophia(env, work, "-m", "sophia_cli", "import", str(outside / "chats.json")))
        assert came[0] == 0, came[1]
        device = keys_of(home, None)
        child = [*("-c", CHILD), json.dumps(WRITTEN), str(backups)]
        said = await crashed(await sophia(env, work, *child), signal.SIGSEGV)
        assert said["core"] == 0
        assert said["dumpable"] == 0
        protect = ("-m", "sophia_cli", "init", "--yes")
        done = await ended(await sophia(env | {"SOPHIA_PASSPHRASE": PASSPHRASE}, work, *protect))
        assert done[0] == 0, done[1]
    marks = {name: text.encode() for name, text in (WRITTEN | {"passphrase": PASSPHRASE}).items()}
    marks |= device | {f"{name} later": key for name, key in keys_of(home, PASSPHRASE).items()}
    assert [place for folder in scanned for place in found(folder, marks)] == []
    assert any(backups.iterdir()) and (home / "store" / "sophia.db").stat().st_size > 50_000
    cores = [path for folder in scanned for path in folder.rglob("core*") if path.is_file()]
    assert cores == []


@pytest.mark.parametrize(
    "content",
    [
        b"..Quokka-In-The-Rain..".lower(),
        b"..QUOKKA-in-the-rain..",
        "quokka-in-the-rain".encode("utf-16-le"),
        "x" + "quokka-in-the-rain",
        b"quokka-in-the-rain".hex().upper().encode(),
        base64.b64encode(b"quokka-in-the-rain"),
        base64.b64encode(b"a quokka-in-the-rain"),
        base64.b64encode(b"a: quokka-in-the-rain!"),
        base64.urlsafe_b64encode(b"the quokka-in-the-rain?"),
    ],
    ids=range(9),
)
def test_the_scan_finds_a_mark_in_every_form(tmp_path: Path, content: bytes | str) -> None:
    (tmp_path / "file").write_bytes(content.encode() if isinstance(content, str) else content)
    assert found(tmp_path, {"mark": b"quokka-in-the-rain"})


def test_the_scan_finds_a_mark_in_a_name(tmp_path: Path) -> None:
    (tmp_path / "quokka-in-the-rain.txt").touch()
    assert found(tmp_path, {"mark": b"quokka-in-the-rain"})
    assert not found(tmp_path, {"mark": b"kangaroo-in-the-sun"})
