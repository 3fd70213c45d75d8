"""Macros run on the real registry, the real store and real programs; only the server's answers are scripted."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sophia_core.commands import CommandError
from sophia_core.events import MacroFinished, MacroStarted, MacroStepped, ProgramRan
from sophia_core.macros.language import Macro, Parameter
from sophia_core.macros.outcome import MacroResult
from tests.scripted import ScriptedReply, chat
from tests.sophia_core.conftest import Bench, OpenBench


class Person:
    """Somebody who answers what macros ask."""

    def __init__(self, *, agrees: bool = True, **values: str) -> None:
        self.agrees, self.values = agrees, values
        self.asked: list[str] = []

    async def may_run(self, macro: Macro, argv: Sequence[str], key: str) -> bool:
        self.asked.append(" ".join(argv))
        return self.agrees

    async def may_do(self, macro: Macro, question: str) -> bool:
        self.asked.append(question)
        return self.agrees

    async def value_of(self, macro: Macro, parameter: Parameter) -> str | None:
        return self.values.get(parameter.name)


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


async def ready(
    bench: OpenBench, home: Path, *replies: ScriptedReply, person: Person | None = None, **macros: str
) -> Bench:
    folder = home / "macros"
    folder.mkdir(exist_ok=True)
    for name, text in macros.items():
        (folder / f"{name}.toml").write_text(f'help = "A test."\n{text}')
    opened = await bench(*replies, home=home)
    opened.runtime.macros.guard = person or Person()
    await opened.runtime.macros.refresh()
    return opened


async def run(opened: Bench, name: str, **values: str) -> MacroResult:
    return await opened.runtime.macros.run_with(name, values)


async def test_an_answer_goes_into_the_next_step(bench: OpenBench, tmp_path: Path) -> None:
    text = """
        [parameters.topic]
        [[steps]]
        ask = "Tell me about {topic}"
        name = "told"
        [[steps]]
        save = "out/{topic}.md"
        text = "# {topic}\\n{told}"
    """
    opened = await ready(bench, tmp_path, chat("It is ", "blue."), tell=text)
    result = await run(opened, "tell", topic="sky {answer} title=x")
    assert (result.ending, result.results["told"], result.steps) == ("finished", "It is blue.", 2)
    assert Path("out/sky {answer} title=x.md").read_text() == "# sky {answer} title=x\nIt is blue.\n"
    (started,), (finished,) = opened.heard(MacroStarted), opened.heard(MacroFinished)
    assert isinstance(started, MacroStarted) and isinstance(finished, MacroFinished)
    assert (started.steps, finished.ending) == (2, "finished")
    assert [each.number for each in opened.heard(MacroStepped) if isinstance(each, MacroStepped)] == [1, 2]


async def test_a_macro_is_a_command_of_its_own(bench: OpenBench, tmp_path: Path) -> None:
    text = '[parameters.n]\ntype = "number"\n[parameters.how]\nchoices = ["a", "b"]\ndefault = "a"\n'
    opened = await ready(bench, tmp_path, shout=text + '[[steps]]\nsay = "{n} {how}"\n')
    assert await opened.runtime.dispatch("/shout 3") == "3 a"
    assert await opened.runtime.dispatch("macro.shout 2.5 how=b") == "2.5 b"
    for line in ("/shout", "/shout many", "/shout 1 c"):
        with pytest.raises(CommandError):
            await opened.runtime.dispatch(line)
    (tmp_path / "macros" / "shout.toml").unlink()
    await opened.runtime.macros.refresh()
    assert not opened.runtime.registry.has("shout") and not opened.runtime.registry.has("macro.shout")


async def test_steps_are_left_out_repeated_and_stopped_at(bench: OpenBench, tmp_path: Path) -> None:
    text = """
        [[steps]]
        say = "{item}!"
        each = ["a", "b"]
        name = "both"
        [[steps]]
        say = "({item})"
        each = "{both}"
        name = "again"
        [[steps]]
        when = 'both lacks "a"'
        say = "never"
        name = "left_out"
        [[steps]]
        when = "left_out is empty"
        stop = "{again} {left_out}."
        [[steps]]
        say = "not reached"
    """
    result = await run(await ready(bench, tmp_path, m=text), "m")
    assert (result.ending, result.text) == ("stopped", "(a!)\n(b!) .")


async def test_a_program_runs_only_when_a_person_lets_it(bench: OpenBench, tmp_path: Path) -> None:
    program = "import sys; print(sys.argv[1])"
    text = f'[parameters.what]\n[[steps]]\nshell = ["{sys.executable}", "-c", "{program}", "{{what}}"]\n'
    person = Person()
    opened = await ready(bench, tmp_path, person=person, m=text)
    assert (await run(opened, "m", what="$(id); `x` \"'")).text == "$(id); `x` \"'"
    (told,) = opened.heard(ProgramRan)
    assert isinstance(told, ProgramRan) and (told.program, told.code) == (sys.executable, 0)
    kinds = {each.kind: each for each in await opened.runtime.auditor.entries()}
    assert kinds["macro.program"].detail == {"macro": "m", "code": "0"}
    assert len(person.asked) == 1
    person.agrees = False
    with pytest.raises(CommandError, match="not allowed"):
        await run(opened, "m", what="x")


async def test_a_program_sees_no_secret(bench: OpenBench, tmp_path: Path) -> None:
    text = f'[[steps]]\nshell = ["{sys.executable}", "-c", "import os; print(sorted(os.environ))"]\n'
    opened = await ready(bench, tmp_path, m=text)
    assert "SOPHIA_" not in (await run(opened, "m")).text


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ('[[steps]]\nshell = ["/nowhere/at-all"]', "step 1: '/nowhere/at-all' cannot be started"),
        ('[[steps]]\nread = "gone.txt"', "step 1: .*cannot be read"),
        ('[[steps]]\nsave = "a"\ntext = "1"\n[[steps]]\nsave = "a"\ntext = "2"', "step 2: .*exists already"),
        ('[[steps]]\nrun = "no.such"', "step 1: There is no command"),
        ('[[steps]]\nrun = "session.open 01NOPE"', "step 1: There is no session"),
        ('[[steps]]\nmacro = "m"', "would call itself: m → m"),
        ('[[steps]]\nmacro = "gone"', "There is no macro 'gone'"),
        ('[[steps]]\nshell = ["sleep", "60"]\ntimeout = 0.05', "step 1: it took longer than 0.05 s"),
    ],
)
async def test_the_first_error_ends_it_and_names_the_step(
    bench: OpenBench, tmp_path: Path, steps: str, message: str
) -> None:
    with pytest.raises(CommandError, match=message):
        await run(await ready(bench, tmp_path, m=steps), "m")


async def test_an_error_may_be_gone_on_from(bench: OpenBench, tmp_path: Path) -> None:
    program = "import sys; print('half'); sys.exit(3)"
    text = f"""
        [[steps]]
        shell = ["{sys.executable}", "-c", "{program}"]
        name = "said"
        on_error = "continue"
        [[steps]]
        say = "{{said}} | {{error}}"
    """
    result = await run(await ready(bench, tmp_path, m=text), "m")
    assert result.text.startswith("half | m, step 1: ") and "ended with 3" in result.text


async def test_macros_call_each_other(bench: OpenBench, tmp_path: Path) -> None:
    inner = '[parameters.who]\n[[steps]]\nsay = "Hello {who}"\n'
    outer = (
        '[[steps]]\nmacro = "inner"\nvalues = {who = "{model}you"}\nname = "greeting"\n[[steps]]\nsay = "{greeting}."\n'
    )
    opened = await ready(bench, tmp_path, inner=inner, outer=outer)
    assert (await run(opened, "outer")).text == "Hello you."
    assert (await run(opened, "outer")).text == "Hello you."


async def test_a_called_macro_that_failed_may_be_called_again(bench: OpenBench, tmp_path: Path) -> None:
    opened = await ready(
        bench,
        tmp_path,
        outer="""
[[steps]]
macro = "inner"
each = ["one"]
on_error = "continue"
[[steps]]
macro = "inner"
on_error = "continue"
[[steps]]
say = "{error}"
""",
        inner='[[steps]]\nread = "is not there"\n',
    )
    result = await run(opened, "outer")
    assert result.ending == "finished" and "cannot be read" in result.text and "call itself" not in result.text


async def test_what_the_system_refuses_is_an_error_like_any_other(
    bench: OpenBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = await ready(
        bench,
        tmp_path,
        careful='[[steps]]\nrun = "session.folders"\non_error = "continue"\n[[steps]]\nsay = "{error}"\n',
    )

    async def refuse() -> None:
        raise PermissionError(13, "Permission denied", "themes")

    chosen = opened.runtime.registry.get("session.folders")
    opened.runtime.registry.remove("session.folders")
    opened.runtime.registry.add(replace(chosen, handler=refuse))
    result = await run(opened, "careful")
    assert result.ending == "finished" and "step 1" in result.text and "Permission denied" in result.text


async def test_of_two_macros_begun_at_once_one_runs(bench: OpenBench, tmp_path: Path) -> None:
    opened = await ready(bench, tmp_path, first='[[steps]]\nsay = "one"\n', second='[[steps]]\nsay = "two"\n')
    macros = opened.runtime.macros
    ended = await asyncio.gather(macros.run_with("first", {}), macros.run_with("second", {}), return_exceptions=True)
    assert isinstance(ended[0], MacroResult) and ended[0].text == "one"
    assert isinstance(ended[1], CommandError) and "is running" in str(ended[1])
    assert macros.running is None


async def test_what_asks_first_asks_in_a_macro_too(bench: OpenBench, tmp_path: Path) -> None:
    person = Person(agrees=False)
    steps = '[[steps]]\nask = "hi"\n[[steps]]\nrun = "session.delete"\n'
    opened = await ready(bench, tmp_path, chat("a"), chat("b"), person=person, m=steps)
    with pytest.raises(CommandError, match="nobody agreed"):
        await run(opened, "m")
    person.agrees = True
    assert (await run(opened, "m")).ending == "finished"
    assert person.asked == [
        "session.delete cannot be undone: “hi”, 2 messages.",
        "session.delete cannot be undone: “hi”, 4 messages.",
    ]


async def test_stopping_a_macro_ends_its_program(bench: OpenBench, tmp_path: Path) -> None:
    program = "import time; open('begun', 'w').close(); time.sleep(600)"
    text = f'[[steps]]\nshell = ["{sys.executable}", "-c", "{program}"]\ntimeout = 600\n'
    os.mkfifo("begun")
    opened = await ready(bench, tmp_path, m=text)
    running = asyncio.ensure_future(run(opened, "m"))
    await asyncio.to_thread(Path("begun").read_bytes)
    with pytest.raises(CommandError, match="a macro is running"):
        await opened.runtime.dispatch("/m")
    await opened.runtime.run("macro.stop")
    with pytest.raises(asyncio.CancelledError):
        await running
    (finished,) = opened.heard(MacroFinished)
    assert isinstance(finished, MacroFinished) and finished.ending == "cancelled"
    assert opened.runtime.macros.running is None


async def test_a_dry_run_does_nothing(bench: OpenBench, tmp_path: Path) -> None:
    text = '[parameters.a]\n[[steps]]\nask = "Why {a}?"\nname = "told"\n[[steps]]\nsave = "{a}.md"\ntext = "{told}"\n'
    opened = await ready(bench, tmp_path, m=text)
    result = await opened.runtime.run("macro.run", "m", "a='b c'", dry_run=True)
    assert isinstance(result, MacroResult)
    assert result.text == "1. ask Why b c?\n2. save b c.md"
    assert list(Path().iterdir()) == []


async def test_a_folders_macro_is_looked_at_first(bench: OpenBench, tmp_path: Path, folder: Path) -> None:
    (folder / ".sophia" / "macros").mkdir(parents=True)
    path = folder / ".sophia" / "macros" / "theirs.toml"
    path.write_text('help = "x"\n[[steps]]\nsay = "ran"\n')
    opened = await ready(bench, tmp_path)
    with pytest.raises(CommandError, match="nobody has looked at it"):
        await run(opened, "theirs")
    assert "ran" in await opened.runtime.macros.show("theirs")
    await opened.runtime.run("macro.trust", "theirs")
    assert (await run(opened, "theirs")).text == "ran"
    path.write_text('help = "x"\n[[steps]]\nsay = "something else"\n')
    with pytest.raises(CommandError, match="nobody has looked at it"):
        await run(opened, "theirs")


async def test_a_folder_cannot_take_a_name_of_the_persons(bench: OpenBench, tmp_path: Path, folder: Path) -> None:
    (folder / ".sophia" / "macros").mkdir(parents=True)
    (folder / ".sophia" / "macros" / "review.toml").write_text('help = "x"\n[[steps]]\nsay = "evil"\n')
    opened = await ready(bench, tmp_path)
    assert any("'review' is a macro of yours" in each for each in await opened.runtime.macros.refresh())
    assert "evil" not in await opened.runtime.macros.show("review")


def theirs(folder: Path, text: str, name: str = "theirs") -> Path:
    path = folder / ".sophia" / "macros" / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


async def test_what_is_trusted_is_what_was_shown(bench: OpenBench, tmp_path: Path, folder: Path) -> None:
    path = theirs(folder, 'help = "x"\n[[steps]]\nsay = "harmless"\n')
    opened = await ready(bench, tmp_path)
    assert "harmless" in await opened.runtime.macros.show("theirs")
    path.write_text('help = "x"\n[[steps]]\nsay = "something else"\n')
    with pytest.raises(CommandError, match="was changed after you looked at it"):
        await opened.runtime.run("macro.trust", "theirs")
    assert "something else" in await opened.runtime.macros.show("theirs")
    await opened.runtime.run("macro.trust", "theirs")
    assert (await run(opened, "theirs")).text == "something else"


async def test_a_macro_cannot_trust_another(bench: OpenBench, tmp_path: Path, folder: Path) -> None:
    theirs(folder, 'help = "x"\n[[steps]]\nsay = "ran"\n')
    opened = await ready(bench, tmp_path, opener='[[steps]]\nrun = "macro.trust theirs"\n')
    with pytest.raises(CommandError, match="a macro is running"):
        await run(opened, "opener")


class Always(Person):
    """Somebody whose "always" is remembered under its key."""

    def __init__(self) -> None:
        super().__init__()
        self.keys: list[str] = []

    async def may_run(self, macro: Macro, argv: Sequence[str], key: str) -> bool:
        self.keys.append(key)
        return True


async def test_always_holds_for_a_folders_program_in_that_folder_only(
    bench: OpenBench, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, person = 'help = "x"\n[[steps]]\nshell = ["true"]\n', Always()
    theirs(folder, text)
    opened = await ready(bench, tmp_path, person=person, mine='[[steps]]\nshell = ["true"]\n')
    await opened.runtime.run("macro.trust", "theirs")
    for place in (folder, tmp_path):
        monkeypatch.chdir(place)
        await run(opened, "theirs")
        await run(opened, "mine")
    here, mine, there, mine_too = person.keys
    assert here != there and mine == mine_too and not any(key.split()[1:] for key in person.keys)


@pytest.mark.parametrize("where", ["../out.txt", ".git/hooks/pre-commit", "away/out.txt", "{date}/../../out.txt"])
async def test_a_folders_macro_asks_before_it_writes_elsewhere(
    bench: OpenBench, tmp_path: Path, folder: Path, where: str
) -> None:
    (folder / "away").symlink_to(tmp_path)
    theirs(folder, f'help = "x"\n[[steps]]\nsave = "{where}"\ntext = "x"\n[[steps]]\nsay = "ran"\n')
    theirs(folder, 'help = "x"\n[[steps]]\nsave = "notes/a.txt"\ntext = "x"\n', "tame")
    person = Person(agrees=False)
    opened = await ready(bench, tmp_path, person=person)
    for name in ("theirs", "tame"):
        await opened.runtime.run("macro.trust", name)
    with pytest.raises(CommandError, match="was not allowed to be written"):
        await run(opened, "theirs")
    assert len(person.asked) == 1 and not (tmp_path / "out.txt").exists() and not (folder / ".git").exists()
    await run(opened, "tame")
    assert (folder / "notes" / "a.txt").read_text() == "x\n" and len(person.asked) == 1


async def test_links_are_not_written_through_and_pipes_not_waited_for(
    bench: OpenBench, tmp_path: Path, folder: Path
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (folder / "notes.md").symlink_to(precious)
    os.mkfifo(folder / "pipe")
    writes = '[[steps]]\nsave = "notes.md"\ntext = "x"\nreplace = true\n'
    opened = await ready(bench, tmp_path, writes=writes, reads='[[steps]]\nread = "pipe"\n')
    with pytest.raises(CommandError, match="cannot be written"):
        await run(opened, "writes")
    assert precious.read_text() == "mine"
    with pytest.raises(CommandError, match="is no file"):
        await run(opened, "reads")


async def test_repeating_cannot_pile_up_more_than_is_kept(bench: OpenBench, tmp_path: Path, folder: Path) -> None:
    (folder / "large").write_text("x" * 900_000)
    text = '[[steps]]\nread = "large"\neach = ["1", "2", "3"]\n'
    opened = await ready(bench, tmp_path, piles=text)
    with pytest.raises(CommandError, match="are kept at most"):
        await run(opened, "piles")


@pytest.mark.parametrize(
    ("head", "branch"),
    [
        ("ref: refs/heads/main\n", "main"),
        ("ref: refs/heads/--output=x\n", ""),
        ("ref: refs/heads/a\x1b[31m\n", ""),
        ("ref: refs/heads/a\nand more\n", "a"),
        ("", ""),
    ],
)
async def test_a_folders_branch_is_a_name(
    bench: OpenBench, tmp_path: Path, folder: Path, head: str, branch: str
) -> None:
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text(head)
    opened = await ready(bench, tmp_path, where='[[steps]]\nsay = "<{git_branch}>"\n')
    assert (await run(opened, "where")).text == f"<{branch}>"


async def test_a_rule_that_refuses_counts_whatever_the_guard_says(
    bench: OpenBench, tmp_path: Path, folder: Path
) -> None:
    (folder / "private").mkdir()
    (folder / "private" / "key").write_text("secret")
    (folder / "way").symlink_to(folder / "private")
    person = Person()
    opened = await ready(
        bench,
        tmp_path,
        person=person,
        removes='[[steps]]\nshell = ["env", "rm", "x"]\n',
        reads='[[steps]]\nread = "way/key"\n',
        writes='[[steps]]\nsave = "a/../private/new"\ntext = "x"\n',
    )
    rules = (await opened.runtime.vault.get()).approvals.rules
    await rules.add("deny", "run", command="rm")
    await rules.add("deny", "*", path="private/**")
    for name in ("removes", "reads", "writes"):
        with pytest.raises(CommandError, match="may not"):
            await run(opened, name)
    assert person.asked == []
    assert not (folder / "private" / "new").exists()


async def test_what_a_rule_asks_for_was_not_allowed_for_always(bench: OpenBench, tmp_path: Path) -> None:
    opened = await ready(bench, tmp_path, says='[[steps]]\nshell = ["echo", "x"]\n')
    macros, kept = opened.runtime.macros, list[str]()

    class Always(Person):
        async def may_run(self, macro: Macro, argv: Sequence[str], key: str) -> bool:
            kept.append("known" if macros.allowed(key) else "asked")
            await macros.allow(key)
            return True

    macros.guard = Always()
    await run(opened, "says")
    await run(opened, "says")
    await (await opened.runtime.vault.get()).approvals.rules.add("ask", "run", command="echo")
    await run(opened, "says")
    await run(opened, "says")
    assert kept == ["asked", "known", "asked", "asked"]


async def test_what_was_done_is_kept_and_done_again(bench: OpenBench, tmp_path: Path) -> None:
    opened = await ready(bench, tmp_path, chat("one"), chat("two"))
    macros = opened.runtime.macros
    await opened.runtime.run("macro.record")
    await opened.runtime.dispatch('/ask what is "{x}"?')
    await opened.runtime.dispatch("/rename A title")
    assert "Kept 2 steps" in str(await opened.runtime.run("macro.keep", "mine"))
    assert macros.recording is None
    await opened.runtime.run("session.new")
    await opened.runtime.dispatch("/mine")
    first, second = await opened.runtime.sessions.list()
    assert first.title == second.title == "A title"
    with pytest.raises(CommandError, match="nothing is being recorded"):
        await opened.runtime.run("macro.keep", "mine")


async def test_keeping_does_not_replace_unasked(bench: OpenBench, tmp_path: Path) -> None:
    opened = await ready(bench, tmp_path, mine='[[steps]]\nsay = "old"\n')
    for name, message in (("mine", "already"), ("Not a name", "cannot be"), ("../up", "cannot be")):
        opened.runtime.macros.recording = None
        await opened.runtime.run("macro.record")
        await opened.runtime.run("session.new")
        with pytest.raises(CommandError, match=message):
            await opened.runtime.run("macro.keep", name)
    assert "Kept" in str(await opened.runtime.run("macro.keep", "mine", replace=True))


async def test_two_commands_with_one_slash_name_do_not_collide(bench: OpenBench, tmp_path: Path) -> None:
    opened = await ready(bench, tmp_path, new='[[steps]]\nsay = "mine"\n')
    assert await opened.runtime.dispatch("/new") is None  # refused as a name: the verb is taken
    assert any("cannot be a macro's name" in each for each in await opened.runtime.macros.refresh())
    (tmp_path / "macros" / "open.toml").write_text('help = "x"\n[[steps]]\nsay = "mine"\n')
    await opened.runtime.macros.refresh()
    assert await opened.runtime.dispatch("/macro.open") == "mine"
    with pytest.raises(CommandError, match="There is no session"):
        await opened.runtime.dispatch("/open 01X")
