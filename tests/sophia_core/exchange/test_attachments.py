"""Images and files come in with conversations and go out with them; what does not is told."""

from __future__ import annotations

import base64
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from local_store import Blob, Message, Part
from local_store.imports import Conversation
from sophia_core.exchange import media, open_webui
from sophia_core.exchange.contents import LARGEST, LeftOut, image_address
from sophia_core.exchange.report import told
from tests.sophia_core.exchange.conftest import Desk, OpenDesk

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels" * 40
CAT, PDF, GONE, LOCKED = (
    "file-AbCdEf1234567890",
    "file-Pdf4567890abcdef",
    "file-Gone567890abcdef",
    "file_00000000aaaa1111",
)


def pointer(id: str) -> dict[str, Any]:
    return {"content_type": "image_asset_pointer", "asset_pointer": f"file-service://{id}", "width": 10, "height": 20}


def chat(*parts: object, attachments: tuple[dict[str, str], ...] = ()) -> list[dict[str, Any]]:
    content = {"content_type": "multimodal_text", "parts": list(parts)}
    said = {"author": {"role": "user"}, "content": content, "create_time": 1_700_000_000}
    said["metadata"] = {"attachments": list(attachments)}
    return [{"conversation_id": "c", "title": "Cats", "mapping": {"a": {"parent": None, "message": said}}}]


def archive(path: Path, conversations: object, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("conversations.json", json.dumps(conversations))
        for name, content in members.items():
            made.writestr(name, content)
    return path


async def only_message(desk: Desk) -> Message:
    (session,) = await desk.store.sessions.list()
    (message,) = await desk.store.messages.all(session.id)
    return message


async def test_chatgpt_images_and_files_come_out_of_the_archive(desk: Desk, tmp_path: Path) -> None:
    attached = (
        {"id": CAT, "name": "cat.png", "mime_type": "image/png"},
        {"id": PDF, "name": "../../etc/a\x1b[31m.pdf", "mime_type": "application/pdf"},
        {"id": GONE, "name": "gone.txt", "mime_type": "text/plain"},
    )
    conversations = chat("look", pointer(CAT), pointer(LOCKED), attachments=attached)
    members = {f"{CAT}-my cat.png": PNG, f"x/../{PDF}-a.pdf": b"%PDF", "../../evil.png": b"evil"}
    path = archive(tmp_path / "export.zip", conversations, **members)
    for dry_run in (True, False):
        done = await desk.exchange.bring_in(path, dry_run=dry_run)
        assert done.report.attachments == (0 if dry_run else 2)
    message = await only_message(desk)
    assert [(part.kind, part.name, part.status) for part in message.parts] == [
        ("image", "my cat.png", "complete"),
        ("file", "a [31m.pdf", "complete"),
    ]
    kept = [part.blob for part in message.parts if part.blob is not None]
    assert [await desk.store.blobs.get(each.id) for each in kept] == [PNG, b"%PDF"]
    assert [each.media_type for each in kept] == ["image/png", "application/pdf"]
    assert f"{LOCKED}; not imported]" in message.text and "gone.txt" in message.text and "cat" not in message.text
    assert "2 images and files came with them." in told(done)
    again = await desk.exchange.bring_in(path)
    assert (again.report.unchanged, again.report.attachments) == (1, 0)
    assert (await only_message(desk)).parts == message.parts


async def test_hostile_members_cost_only_themselves(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(media, "BOMB_BYTES", 1_000_000)
    path = archive(
        tmp_path / "export.zip",
        chat(pointer(CAT), pointer(PDF), pointer(GONE)),
        **{f"{CAT}.png": bytes(5_000_000), f"{PDF}.png": PNG * 50, f"{GONE}.png": PNG},
    )
    content = bytearray(path.read_bytes())
    at = content.find(f"{PDF}.png".encode()) + len(f"{PDF}.png") + 20
    content[at : at + 10] = b"\xff" * 10
    path.write_bytes(content)
    done = await desk.exchange.bring_in(path)
    assert done.report.attachments == 1
    lines = told(done)
    assert "1 images or files were not stored: unpacks to more than two hundred times its size." in lines
    assert "1 images or files were not stored: damaged in the archive." in lines
    assert [part.status for part in (await only_message(desk)).parts] == ["failed", "failed", "complete"]


def test_an_archive_that_is_none_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(b"PK\x03\x04 no archive")
    for found in (media.Media(path), media.Media(tmp_path / "missing"), media.Media()):
        assert found.find(f"file-service://{CAT}", "image") is None
        found.close()


@pytest.mark.parametrize(
    "url", ["", "http://x/y.png", "data:", "data:image/png;base64", "DATA:x", "file:///etc/passwd"]
)
def test_only_data_is_taken_from_an_address(url: str) -> None:
    assert media.from_data(url) is None


def test_open_webui_brings_images_and_costs() -> None:
    encoded = base64.b64encode(PNG).decode()
    asked = {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{encoded}"}}],
    }
    answer = {"role": "assistant", "content": "a cat", "usage": {"prompt_tokens": 1, "cost": 0.25}}
    odd = {
        "role": "user",
        "content": "",
        "files": [{"url": "data:image/png;base64,%%%"}, {"url": "data:,plain%20text"}],
    }
    found = open_webui.conversation({"chat": {"messages": [asked, answer, odd], "models": []}, "id": "w"})
    assert isinstance(found, Conversation)
    first, second, third = found.messages
    assert [(part.kind, part.content) for part in first.parts] == [("image", PNG)] and first.text == ""
    assert second.usage is not None and second.usage.cost_usd == 0.25
    assert third.parts[1].content == b"plain text"


def _parts(*blobs: Blob) -> list[Part]:
    call = Part("tool_call", "list_files", "c1", '{"path": "<script>"}', "running")
    result = Part("tool_result", "list_files", "c1", "```\nodd\x1b[31m", "failed")
    return [call, result, *(Part("image", f"{n}.png", blob=each) for n, each in enumerate(blobs))]


async def filled(desk: Desk) -> str:
    session = await desk.store.sessions.create("Tools")
    turn = await desk.store.turns.begin(session.id, None, "what is there?", request_id="r")
    await desk.store.turns.finish(turn.answer.id, text="this", status="complete")
    small = await desk.store.blobs.put(PNG, "image/png")
    svg = await desk.store.blobs.put(b"<svg onload='alert(1)'/>", "image/svg+xml")
    large = await desk.store.blobs.put(bytes(LARGEST + 1), "image/png")
    await desk.store.parts.add(turn.answer.id, _parts(small, svg, large))
    return session.id


async def text_of(desk: Desk, session: str, format: Any, left_out: LeftOut) -> str:
    return "".join([piece async for piece in desk.exchange.pieces([session], format, left_out=left_out)])


async def test_our_json_takes_them_along(desks: OpenDesk, tmp_path: Path) -> None:
    home, other = await desks("home"), await desks("other")
    session = await filled(home)
    path = tmp_path / "x.json"
    done = await home.exchange.export_to(path, [session], "json")
    assert "1 larger than 1 MiB, which a backup holds" in done.left_out
    answer = json.loads(path.read_text())["sessions"][0]["messages"][1]
    assert [each["kind"] for each in answer["parts"]] == ["tool_call", "tool_result", "image", "image", "image"]
    assert base64.b64decode(answer["parts"][2]["content"]) == PNG and "content" not in answer["parts"][4]
    brought = await other.exchange.bring_in(path)
    assert brought.report.attachments == 2
    assert "1 images or files were not stored: the export only names it." in told(brought)
    before = (await home.store.messages.path(session))[1].parts
    after = (await other.store.messages.path(session))[1].parts
    assert [(p.kind, p.name, p.call_id, p.status) for p in after] == [
        ("tool_call", "list_files", "c1", "failed"),
        ("tool_result", "list_files", "c1", "failed"),
        ("image", "0.png", None, "complete"),
        ("image", "1.png", None, "complete"),
        ("image", "2.png", None, "failed"),
    ]
    assert [p.text for p in after[:4]] == [p.text for p in before[:4]]
    kept = after[2].blob
    assert kept is not None and await other.store.blobs.get(kept.id) == PNG
    assert before[2].blob is not None and kept.id != before[2].blob.id, "each store has its own key for ids"


async def test_html_shows_what_is_safe_and_markdown_names_it(desk: Desk) -> None:
    session = await filled(desk)
    left_out = LeftOut()
    page = await text_of(desk, session, "html", left_out)
    assert page.count("<img ") == 1 and f"data:image/png;base64,{base64.b64encode(PNG).decode()}" in page
    assert "<script>" not in page and "<svg" not in page and "&lt;script&gt;" in page and "img-src data:" in page
    assert left_out.large == 1
    text = await text_of(desk, session, "md", LeftOut())
    assert "**Call of list\\_files, running**" in text and "**Image 0.png, image/png, 248 bytes**" in text
    assert "\x1b" not in text and "\x1b" not in page
    assert "````\n```\nodd" in text, "the fence is longer than what it holds"


async def test_a_lost_attachment_does_not_stop_an_export(desk: Desk) -> None:
    session = await filled(desk)
    await desk.store._database.write(
        lambda connection: connection.execute(
            "UPDATE blob SET content = NULL, file = 'gone', key = x'00' WHERE size < 99"
        )
    )
    left_out = LeftOut()
    assert "Call of" in await text_of(desk, session, "html", left_out)
    assert left_out.lost == 1 and "sophia store check" in left_out.told()


def test_what_an_image_says_it_is_counts_nothing() -> None:
    assert image_address(b"<svg/>") is None and image_address(b"12345678WEBP") is None
    assert (image_address(b"RIFF1234WEBPx") or "").startswith("data:image/webp;base64,")


async def test_too_many_parts_are_counted(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from local_store import import_parts

    monkeypatch.setattr(import_parts, "MOST_PARTS", 2)
    path = archive(tmp_path / "x.zip", chat(*[pointer(CAT)] * 3), **{f"{CAT}.png": PNG})
    done = await desk.exchange.bring_in(path)
    assert dict(done.report.remarks) == {import_parts.TOO_MANY: 1}
    assert len((await only_message(desk)).parts) == 2
