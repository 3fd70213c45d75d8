"""Git, as a store of files and nothing more: no hooks, no filters, no configuration of anybody's, no repository found.

Each call names its repository, which is one of ours and which no agent can reach. What a folder says of itself, in
`.git`, `.gitattributes` or a person's own configuration, starts nothing here.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sophia_core.swarm.tools.confined import SECRETS

LONGEST_S: Final = 300.0
_FIXED: Final = (
    *("-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", "-c", "gc.auto=0", "-c", "core.symlinks=true"),
    *("-c", "core.autocrlf=false", "-c", "core.quotePath=false", "-c", "core.pager=cat", "-c", "protocol.allow=never"),
    *("-c", "core.untrackedCache=false", "-c", "core.splitIndex=false", "-c", "maintenance.auto=false"),
)
ATTRIBUTES: Final = "* -text -ident -filter !eol !merge !diff -working-tree-encoding\n"
"""Stronger than whatever a folder says: every file is kept byte by byte, and no program is called for it."""
NEVER_KEPT: Final = (
    *("__pycache__/", "*.py[cod]", ".pytest_cache/", ".mypy_cache/", ".ruff_cache/", ".hypothesis/", ".coverage"),
    *("node_modules/", ".venv/", "venv/", ".tox/", ".nox/", ".git"),
)
EMPTY_TREE: Final = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"


class GitFailed(Exception):
    """Git did not do it; the text says what it said."""


@dataclass(frozen=True, slots=True)
class Git:
    """A repository of ours. All of it blocks."""

    repo: Path

    def run(
        self,
        *words: str,
        tree: Path | None = None,
        index: Path | None = None,
        given: bytes = b"",
        ok: Sequence[int] = (),
    ) -> bytes:
        """What git says to it. Raises GitFailed unless it ends with 0, or with one of `ok`."""
        code, said, wrong = self.tried(*words, tree=tree, index=index, given=given)
        if code != 0 and code not in ok:
            raise GitFailed(f"git {words[0]} ended with {code}: {wrong.decode('utf-8', 'replace').strip()[:500]}")
        return said

    def tried(
        self, *words: str, tree: Path | None = None, index: Path | None = None, given: bytes = b""
    ) -> tuple[int, bytes, bytes]:
        """How it ended, and what it said. Raises GitFailed where it does not end or is not there."""
        # Git commands run in the tree's folder; without one, in the repository.
        try:
            done = subprocess.run(  # noqa: S603 - no shell, and the words are ours
                (shutil.which("git") or "git", *_FIXED, *words),
                cwd=tree or self.repo,
                env=_environment(self.repo, tree, index),
                input=given,
                capture_output=True,
                timeout=LONGEST_S,
                check=False,
            )
        except FileNotFoundError:
            raise GitFailed("Git is not installed: install it, and try again.") from None
        except subprocess.TimeoutExpired:
            raise GitFailed(f"Git did not end within {LONGEST_S:g} s.") from None
        return done.returncode, done.stdout, done.stderr

    def text(self, *words: str, tree: Path | None = None, index: Path | None = None) -> str:
        """What git says, as one text without its line break."""
        return self.run(*words, tree=tree, index=index).decode("utf-8", "surrogateescape").strip()

    def begin(self) -> None:
        """Makes the repository, if it is not there."""
        if not (self.repo / "HEAD").exists():
            self.repo.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.run("init", "-q", "--bare", "--template=", str(self.repo))
        info = self.repo / "info"
        info.mkdir(exist_ok=True)
        (info / "attributes").write_text(ATTRIBUTES)
        (info / "exclude").write_text("".join(f"{each}\n" for each in (*NEVER_KEPT, *_hidden())))

    def known(self, ref: str) -> str | None:
        """The commit of a ref, None where there is none."""
        code, said, _ = self.tried("rev-parse", "--verify", "-q", f"{ref}^{{commit}}")
        return said.decode().strip() if code == 0 else None

    def commit(self, tree: str, parents: Sequence[str], message: str, ref: str) -> str:
        """A commit of the tree, which the ref names from then on."""
        made = self.text("commit-tree", tree, *(word for each in parents for word in ("-p", each)), "-m", message)
        self.run("update-ref", ref, made)
        return made

    def blob(self, id_: str) -> bytes:
        """The content of a file."""
        return self.run("cat-file", "blob", id_)

    def keep(self, content: bytes) -> str:
        """Keeps a content, and returns its id."""
        return self.run("hash-object", "-w", "--no-filters", "--stdin", given=content).decode().strip()


def blob_id(content: bytes) -> str:
    """What git calls a file of this content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _hidden() -> list[str]:
    """Secrets as git's patterns: what is named so never gets to an agent."""
    shown = [f"!{each}" for each in (".env.example", ".env.sample", ".env.template", ".env.dist")]
    return [*(each.removesuffix("/**") for each in SECRETS), *shown]


def _environment(repo: Path, tree: Path | None, index: Path | None) -> Mapping[str, str]:
    who = {f"GIT_{role}_{what}": text for role in ("AUTHOR", "COMMITTER") for what, text in _WHO.items()}
    places = {"GIT_DIR": str(repo), **({"GIT_WORK_TREE": str(tree)} if tree else {})}
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "LC_ALL": "C",
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_ATTR_NOSYSTEM": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_NO_REPLACE_OBJECTS": "1",
        **who,
        **places,
        **({"GIT_INDEX_FILE": str(index)} if index else {}),
    }


_WHO: Final = {"NAME": "SOPHIA", "EMAIL": "sophia@localhost"}
