"""Files as they are sent, and those that are not."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from sophia_core.attach import apart
from sophia_core.attach.apart import CHILD
from sophia_core.attach.errors import Refused
from sophia_core.attach.pictures import picture_of, plain_png
from sophia_core.attach.reading import LARGEST, Ready, prepared
from sophia_core.attach.texts import TEXT_MOST

with_pillow = pytest.mark.skipif(not apart.has_pillow(), reason="the extra `files` is not installed")
with_pypdf = pytest.mark.skipif(not apart.has_pypdf(), reason="the extra `files` is not installed")


async def refusal(path: Path) -> Refused:
    with pytest.raises(Refused) as wrong:
        await prepared(path)
    assert str(path.name) in str(wrong.value)
    return wrong.value


def file(folder: Path, name: str, content: bytes | str) -> Path:
    made = folder / name
    made.write_bytes(content.encode() if isinstance(content, str) else content)
    return made


async def test_code_is_sent_as_utf_8(tmp_path: Path) -> None:
    found = await prepared(file(tmp_path, "a.py", "x = 'é'\r\n".encode("cp1252")))
    assert found == Ready("a.py", "file", "text/plain", b"x = '\xc3\xa9'\n", "text, 1 line, 9 bytes, taken for cp1252")


async def test_a_picture_is_known_by_its_content(tmp_path: Path) -> None:
    found = await prepared(file(tmp_path, "notes.txt", plain_png(40, 30, (9, 9, 9))))
    assert (found.kind, found.media_type, found.about.rpartition(",")[0]) == ("image", "image/png", "PNG, 40 × 30")


async def test_what_is_only_named_like_a_picture_is_told(tmp_path: Path) -> None:
    found = await prepared(file(tmp_path, "cat.PNG", "<html>no cat</html>"))
    assert found.kind == "file"
    assert found.about.endswith("although it is named like a picture")


async def test_a_drawing_with_a_script_goes_as_its_source_only(tmp_path: Path) -> None:
    found = await prepared(file(tmp_path, "a.svg", "<svg><script>alert(1)</script></svg>"))
    assert (found.kind, found.media_type) == ("file", "text/plain")


async def test_pipes_sockets_devices_and_folders_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    here = socket.socket(socket.AF_UNIX)
    here.bind(str(tmp_path / "socket"))
    (tmp_path / "link").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    said = {name: str(await refusal(tmp_path / name)) for name in ("pipe", "socket", "link", "loop", ".", "missing")}
    here.close()
    assert "It is a pipe." in said["pipe"]
    assert "It is a socket." in said["socket"]
    assert "It is a device." in said["link"]
    assert "too many levels" in said["loop"]
    assert "no such file" in said["missing"]


async def test_a_folder_is_refused(tmp_path: Path) -> None:
    assert "It is a folder." in str(await refusal(tmp_path))


async def test_ten_gigabytes_are_refused_without_reading_them(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(10 << 30)
    assert "10,737 MB" in str(await refusal(tmp_path / "huge"))
    assert LARGEST < 10 << 30


async def test_an_endless_file_that_says_it_is_small_is_read_to_the_limit_only() -> None:
    with pytest.raises(Refused):
        await prepared(Path("/proc/self/pagemap"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\x7fELF\2\1\1\0" + b"\0" * 50, "a program"),
        (b"SQLite format 3\0" + b"\0" * 50, "a database"),
        (b"BM\x8a\0\0\0\0\0" + b"\0" * 50, "a bitmap"),
        (b"\0\1\2\3" * 20, "neither text"),
        (b"x" * (TEXT_MOST + 1), "of text go"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 30, "damaged"),
    ],
)
async def test_what_cannot_be_sent_says_why(tmp_path: Path, content: bytes, said: str) -> None:
    wrong = await refusal(file(tmp_path, "thing", content))
    assert said in str(wrong)


async def test_an_office_document_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.docx", "w") as made:
        made.writestr("word/document.xml", "<x/>")
    wrong = await refusal(tmp_path / "a.docx")
    assert "office document" in str(wrong)
    assert "PDF" in wrong.hint


async def test_a_name_cannot_reach_the_terminal(tmp_path: Path) -> None:
    found = await prepared(file(tmp_path, "a\x1b[2Jb.txt", "x"))
    assert "\x1b" not in found.name
    assert "\x1b" not in str(await refusal(tmp_path / "\x1b[2J"[:1] if False else tmp_path / "not-there"))


@with_pillow
async def test_a_large_picture_is_made_smaller(tmp_path: Path) -> None:
    found = await prepared(file(tmp_path, "wide.png", plain_png(3000, 100, (200, 10, 10))))
    again = picture_of(found.content)
    assert again is not None
    assert (again.width, again.height) == (2048, 68)
    assert "3000 × 100 made 2048 × 68" in found.about


@with_pillow
async def test_a_picture_that_only_looks_like_one_is_refused_when_it_is_made_smaller(tmp_path: Path) -> None:
    good = plain_png(3000, 100, (1, 1, 1))
    at = good.index(b"IDAT") + 4
    wrong = await refusal(file(tmp_path, "bad.png", good[:at] + b"\xff" * 40 + good[at + 40 :]))
    assert "cannot be read" in str(wrong)


@with_pillow
async def test_a_thumbnail_is_plain_pixels() -> None:
    found = await apart.thumbnail(plain_png(100, 50, (7, 8, 9)), 10, 10)
    assert (found.width, found.height, found.pixels[:3]) == (10, 5, b"\x07\x08\x09")


def pdf(text: str) -> bytes:
    """The smallest PDF with a page of text."""
    stream = f"BT /F1 12 Tf 20 100 Td ({text}) Tj ET".encode()
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%b\nendstream" % (len(stream), stream),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out, places = b"%PDF-1.4\n", []
    for number, each in enumerate(objects, 1):
        places.append(len(out))
        out += b"%d 0 obj%bendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 6\n0000000000 65535 f \n" + table
    return out + head + b"trailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % len(out)


@with_pypdf
async def test_the_text_of_a_pdf_is_sent(tmp_path: Path) -> None:
    found = await prepared(file(tmp_path, "a.pdf", pdf("Hello paper")))
    assert b"Hello paper" in found.content
    assert found.about.startswith("text of a PDF, 1 page, ")


@with_pypdf
@pytest.mark.parametrize("content", [pdf(""), b"%PDF-1.7\n" + b"\0garbage" * 50, pdf("x")[:200]])
async def test_a_pdf_without_text_or_sense_is_refused(tmp_path: Path, content: bytes) -> None:
    await refusal(file(tmp_path, "a.pdf", content))


async def test_without_the_extra_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(apart, "has_pypdf", lambda: False)
    wrong = await refusal(file(tmp_path, "a.pdf", pdf("x")))
    assert "sophia-workstation[files]" in wrong.hint


def test_the_process_that_reads_files_can_start_no_other() -> None:
    code = "import resource, child; child._confine(); print(resource.getrlimit(resource.RLIMIT_NPROC))"
    said = subprocess.run([sys.executable, "-c", code], cwd=CHILD.parent, capture_output=True, text=True, check=True)
    assert said.stdout == "(0, 0)\n"
