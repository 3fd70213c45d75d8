"""A process that reads one file somebody else made, so that nothing in it can reach the process with the keys.

It runs by itself, as `python -P child.py TASK ARGUMENTS`: the file comes on stdin, the result goes to stdout, and what
is wrong with it goes to stderr, in one line. It may take so much memory and time, open no file for writing, and start
nothing. Nothing of SOPHIA is imported here.
"""

import io
import os
import resource
import sys

MEMORY = 1 << 30
SECONDS = 30
PIXELS_MOST = 100_000_000
CHARACTERS_MOST = 2_000_000


def main(words: list[str]) -> int:
    """Do one task."""
    _confine()
    content = sys.stdin.buffer.read()
    try:
        if words[0] == "pdf":
            _pdf(content)
        else:
            _picture(content, words[0], int(words[1]), int(words[2]))
    except MemoryError:
        return _fail("it needs too much memory")
    except RecursionError:
        return _fail("it is nested too deeply")
    except Exception as error:
        return _fail(f"{type(error).__name__}: {error}"[:300])
    return 0


def _confine() -> None:
    limits = [(resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0)]
    limits.append((resource.RLIMIT_NPROC, 0))  # root is above this one
    if sys.platform == "linux":  # macOS knows no limit of the address space
        limits.append((resource.RLIMIT_AS, MEMORY))
    for what, most in limits:
        resource.setrlimit(what, (most, most))
    os.nice(5)


def _fail(reason: str) -> int:
    sys.stderr.write(" ".join(reason.split()))
    return 3


def _pdf(content: bytes) -> None:
    import logging

    import pypdf

    logging.disable(logging.CRITICAL)
    reader = pypdf.PdfReader(io.BytesIO(content), strict=False)
    if reader.is_encrypted and not reader.decrypt(""):
        raise ValueError("it is protected by a password")
    out, left = io.TextIOWrapper(sys.stdout.buffer, "utf-8", errors="replace", newline=""), CHARACTERS_MOST
    pages = len(reader.pages)
    out.write(f"{pages}\n")
    for number in range(pages):
        try:
            text = reader.pages[number].extract_text().strip()
        except MemoryError:
            raise
        except Exception:
            text = "(this page cannot be read)"
        if len(text) > left:
            out.write(f"\n\n[page {number + 1} and what follows are left out: too long]")
            break
        left -= len(text)
        out.write(f"\n\n[page {number + 1}]\n{text}" if text else "")
    out.flush()


def _picture(content: bytes, task: str, width: int, height: int) -> None:
    import warnings

    from PIL import Image, ImageOps

    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = PIXELS_MOST
    with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "GIF", "WEBP")) as found:
        found.draft("RGB", (width, height))
        picture = ImageOps.exif_transpose(found)
        if task == "thumb":
            picture = picture.convert("RGBA")
            picture.thumbnail((width, height))
            flat = Image.new("RGBA", picture.size, (128, 128, 128, 255))
            flat.alpha_composite(picture)
            sys.stdout.buffer.write(b"%d %d\n" % flat.size + flat.convert("RGB").tobytes())
        else:
            clear = picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
            picture = picture.convert("RGBA" if clear else "RGB")
            picture.thumbnail((width, height), Image.Resampling.LANCZOS)
            out = io.BytesIO()
            if clear:
                picture.save(out, "PNG", optimize=False)
            else:
                picture.save(out, "JPEG", quality=88)
            sys.stdout.buffer.write(out.getvalue())
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
