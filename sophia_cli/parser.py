"""Command lines of the shell. Everything about arguments is here, so that `--help` loads nothing else."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, NoReturn

from sophia_cli.exits import usage_error

if TYPE_CHECKING:
    from sophia_cli.console import Console

    Execute = Callable[[argparse.Namespace, Console], int]

EPILOGUE = """exit codes: 0 done, 1 failed, 2 wrong use, 3 store trouble, 4 no provider answered,
128+n ended by signal n (130 Ctrl-C, 143 SIGTERM). SOPHIA_HOME keeps everything in one folder."""


class Parser(argparse.ArgumentParser):
    """Complains like the rest of SOPHIA does: one line and a hint."""

    def error(self, message: str) -> NoReturn:
        raise usage_error(message, f"See `{self.prog} --help`.")


def _ask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="*", metavar="PROMPT", help="the question; `-` takes it from stdin alone")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--new", action="store_true", help="start a new session (the default, said aloud)")
    which.add_argument("--continue", dest="latest", action="store_true", help="go on with the session used last")
    which.add_argument("--session", metavar="ID", help="go on with this session")
    which.add_argument("--no-save", action="store_true", help="keep nothing of it")
    told = parser.add_mutually_exclusive_group()
    told.add_argument("--system", metavar="TEXT", help="another system prompt, this once")
    told.add_argument("--persona", metavar="NAME", help="who answers, this once; `none` for nobody in particular")
    parser.add_argument("--model", metavar="M", help="another model, this once")
    parser.add_argument("--provider", metavar="P", help="another provider, this once")
    parser.add_argument(
        "--attach", action="append", default=[], metavar="FILE", help="text, PDF or picture; repeatable"
    )
    parser.add_argument("--queue", action="store_true", help="when nobody can be reached, let the app ask it later")
    parser.add_argument("--fresh", action="store_true", help="ask even if the answer is kept from before")
    parser.add_argument("--verbose", action="store_true", help="reasoning and notices on stderr, also into a pipe")
    parser.add_argument("--chaos", metavar="FILE", help="inject the faults of this profile; see docs/chaos.md")
    _json(parser, "one JSON object a line for everything that happens")


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lines", nargs="*", metavar="LINE", help="a command line, quoted as one word of the shell")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--continue", dest="latest", action="store_true", help="in the session used last")
    which.add_argument("--session", metavar="ID", help="in this session")
    parser.add_argument("--yes", action="store_true", help="also run what cannot be undone")
    parser.add_argument("--verbose", action="store_true", help="reasoning and notices on stderr, also into a pipe")
    _json(parser, "results as JSON, one line each")


def _commands(parser: argparse.ArgumentParser) -> None:
    _json(parser, "everything that is declared, as one array")


def _sessions(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action="list")
    parser.add_argument("--limit", type=_count, default=200, metavar="N", help="how many at most (200)")
    _json(parser, "an array, newest first")
    parser.add_argument("--folder", metavar="NAME", help="only those in this folder")
    parser.add_argument("--tag", metavar="NAME", help="only those with this tag")
    parser.add_argument("--archived", action="store_true", help="those in the archive instead")
    actions = parser.add_subparsers(metavar="[list | show | search | rm | purge]", parser_class=Parser)
    listing = actions.add_parser("list", help="list them, pinned ones first (the default)", allow_abbrev=False)
    listing.add_argument("--limit", type=_count, default=argparse.SUPPRESS, metavar="N", help="how many at most")
    listing.add_argument("--folder", default=argparse.SUPPRESS, metavar="NAME", help="only those in this folder")
    listing.add_argument("--tag", default=argparse.SUPPRESS, metavar="NAME", help="only those with this tag")
    listing.add_argument("--archived", action="store_true", default=argparse.SUPPRESS, help="those in the archive")
    show = actions.add_parser("show", help="print a conversation", allow_abbrev=False)
    show.add_argument("id", metavar="ID", help="the session's id or the beginning of it")
    search = actions.add_parser("search", help="search everything said", allow_abbrev=False)
    search.add_argument("query", nargs="+", metavar="QUERY", help='words, "phrases", -words, filters: model:NAME …')
    search.add_argument("--limit", type=_count, default=argparse.SUPPRESS, metavar="N", help="how many at most")
    remove = actions.add_parser("rm", help="delete a conversation", allow_abbrev=False)
    remove.add_argument("id", metavar="ID", help="the session's id or the beginning of it")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    for name, chosen in (("list", listing), ("show", show), ("search", search), ("rm", remove)):
        chosen.set_defaults(action=name)
        chosen.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")
    _purge(actions.add_parser("purge", help="remove conversations so that nothing is left", allow_abbrev=False))


def _macro(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action="list")
    _json(parser, "an array; of run, one object")
    actions = parser.add_subparsers(metavar="[list | show | run | check | trust]", parser_class=Parser)
    listing = actions.add_parser("list", help="list them (the default)", allow_abbrev=False)
    show = actions.add_parser("show", help="print the text of one", allow_abbrev=False)
    run = actions.add_parser("run", help="run one", allow_abbrev=False)
    check = actions.add_parser("check", help="say what is wrong with the files", allow_abbrev=False)
    trust = actions.add_parser("trust", help="let one of this folder run", allow_abbrev=False)
    for each in (show, run, trust):
        each.add_argument("name", metavar="NAME", help="the macro")
    run.add_argument("values", nargs="*", metavar="NAME=VALUE", help="what it asks for")
    which = run.add_mutually_exclusive_group()
    which.add_argument("--continue", dest="latest", action="store_true", help="in the session used last")
    which.add_argument("--session", metavar="ID", help="in this session")
    run.add_argument("--dry-run", action="store_true", help="only tell what it would do")
    run.add_argument("--allow-programs", action="store_true", help="let it run the programs it names")
    run.add_argument("--yes", action="store_true", help="also do what cannot be undone")
    named = {"list": listing, "show": show, "run": run, "check": check, "trust": trust}
    for name, each in named.items():
        each.set_defaults(action=name)
        each.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")


def _persona(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action="list")
    _json(parser, "an array")
    names = "[list | show | import | export | check | trust]"
    actions = parser.add_subparsers(metavar=names, parser_class=Parser)
    listing = actions.add_parser("list", help="list them (the default)", allow_abbrev=False)
    show = actions.add_parser("show", help="print the text of one", allow_abbrev=False)
    take = actions.add_parser("import", help="take one over from a file", allow_abbrev=False)
    take.add_argument("file", metavar="FILE", help="the persona's file")
    take.add_argument("name", nargs="?", default="", metavar="NAME", help="another name than the file's")
    take.add_argument("--replace", action="store_true", help="in place of one of yours")
    export = actions.add_parser("export", help="write one to a new file", allow_abbrev=False)
    check = actions.add_parser("check", help="say what is wrong with the files", allow_abbrev=False)
    trust = actions.add_parser("trust", help="let one of this folder answer", allow_abbrev=False)
    for each in (show, export, trust):
        each.add_argument("name", metavar="NAME", help="the persona")
    export.add_argument("file", metavar="FILE", help="a new file, or a folder")
    named = {"list": listing, "show": show, "import": take, "export": export, "check": check, "trust": trust}
    for name, each in named.items():
        each.set_defaults(action=name)
        each.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")


def _voice(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action="devices")
    _json(parser, "an array; of the others, one object")
    names = "[devices | test | say | listen | transcribe | ssh | bridge | join]"
    actions = parser.add_subparsers(metavar=names, parser_class=Parser)
    devices = actions.add_parser("devices", help="list microphones and loudspeakers (the default)", allow_abbrev=False)
    test = actions.add_parser("test", help="say something, listen, and tell how that went", allow_abbrev=False)
    test.add_argument("--seconds", type=_count, default=5, metavar="N", help="how long to listen at most (5)")
    say = actions.add_parser("say", help="say a text aloud, or keep it as a WAV file", allow_abbrev=False)
    say.add_argument("text", nargs="*", metavar="TEXT", help="what to say; `-` takes it from stdin alone")
    say.add_argument("-o", "--output", metavar="FILE", help="a new WAV file, instead of the loudspeaker")
    say.add_argument("--replace", action="store_true", help="in place of a file that is there")
    say.add_argument("--persona", metavar="NAME", help="with whose voice")
    listen = actions.add_parser("listen", help="write down what is said into the microphone", allow_abbrev=False)
    write = actions.add_parser("transcribe", help="write down what is said in sound files", allow_abbrev=False)
    write.add_argument("files", nargs="+", metavar="FILE", help="WAV, MP3, FLAC, Ogg, M4A, video and others")
    named = {"devices": devices, "test": test, "say": say, "listen": listen, "transcribe": write}
    for name, each in named.items():
        each.set_defaults(action=name)
        each.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")
    _bridge(actions)


def _bridge(actions: argparse._SubParsersAction[Parser]) -> None:
    far = actions.add_parser("ssh", help="SOPHIA on another machine, with the sound of this one", allow_abbrev=False)
    far.add_argument("host", metavar="HOST", help="as `ssh` takes it")
    far.add_argument("words", nargs="*", metavar="-- WORD", help="what follows `sophia` there")
    far.add_argument("-p", "--port", type=_port, metavar="N", help="another port of SSH")
    far.add_argument("-o", "--option", action="append", default=[], metavar="OPTION", help="more for ssh; repeatable")
    far.add_argument("--program", default="sophia", metavar="PATH", help="where SOPHIA is there")
    far.add_argument("--command", metavar="LINE", help="run this there instead, like 'tmux new -As sophia sophia'")
    serve = actions.add_parser("bridge", help="serve the sound of this machine, for your own ssh", allow_abbrev=False)
    serve.add_argument("--port", type=_port, metavar="N", help="the port on this machine (8767)")
    serve.add_argument("--quiet", action="store_true", help="do not say who comes, and when the microphone is open")
    for each in (far, serve):
        help = "lend the loudspeaker only"
        each.add_argument("--no-microphone", dest="microphone", action="store_false", help=help)
    joined = actions.add_parser("join", help="use a bridge whose token comes from stdin", allow_abbrev=False)
    joined.add_argument("at", nargs="?", type=_port, metavar="PORT", help="where ssh -R brings it")
    for name, each in {"ssh": far, "bridge": serve, "join": joined}.items():
        each.set_defaults(action=name)


def _port(text: str) -> int:
    if text.isascii() and text.isdecimal() and 0 < int(text) < 65_536:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port, from 1 to 65535")


def _metrics(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action="show")
    parser.add_argument("--watch", action="store_true", help="tell it again with every new number")
    _json(parser, "one object; with --watch one a line")
    actions = parser.add_subparsers(metavar="[serve | business]", parser_class=Parser)
    business = actions.add_parser("business", help="who used how much, for what", allow_abbrev=False)
    business.add_argument("--since", default="30d", metavar="TIME", help="7d, month, all, 2026-11-01 … (30d)")
    business.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")
    business.set_defaults(action="business")
    serve = actions.add_parser("serve", help="tell it to Prometheus, at /metrics", allow_abbrev=False)
    serve.add_argument("--port", type=_port, metavar="N", help="the port (9464, or `metrics.serve_port`)")
    serve.add_argument("--host", default="127.0.0.1", metavar="ADDRESS", help="whom to answer (only this machine)")
    serve.set_defaults(action="serve")


def _ctl(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lines", nargs="*", metavar="LINE", help="a command line, quoted as one word of the shell")
    parser.add_argument("--watch", action="store_true", help="then tell what happens, one JSON object a line")
    parser.add_argument("--pid", type=_count, metavar="N", help="the app of this process, instead of the newest")
    parser.add_argument("--yes", action="store_true", help="also run what cannot be undone")
    _json(parser, "results as JSON, one line each")


def _top(parser: argparse.ArgumentParser) -> None:
    sections = ("overview", "plot", "models", "tenants", "targets", "routes", "slow", "own", "objectives", "alerts")
    parser.add_argument("section", nargs="?", choices=(*sections, "cost"), default="overview", help="which comes first")


def _alerts(parser: argparse.ArgumentParser) -> None:
    actions = ("list", "rules", "receivers", "test", "ack", "silence", "silences", "unsilence", "dead", "retry", "drop")
    parser.add_argument("action", nargs="?", choices=(*actions, "watch"), default="list", help="what to do (list)")
    parser.add_argument("words", nargs="*", metavar="WORD", help="which one; of `silence`: target=node-1 …")
    parser.add_argument("--during", default="1h", metavar="TIME", help="how long a silence lasts (1h); 0: no end")
    parser.add_argument("--reason", default="", metavar="TEXT", help="why it is silent")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    _json(parser, "an array; of `watch` one object a line")


def _cost(parser: argparse.ArgumentParser) -> None:
    actions = ("show", "budgets", "forecast", "override", "prices")
    kinds = ("day", "model", "persona", "provider", "session", "message", "task", "person", "tenant", "known")
    parser.add_argument("action", nargs="?", choices=actions, default="show", help="what to do (show)")
    parser.add_argument("words", nargs="*", metavar="TIME", help="of `override`: how long (2h); 0 ends it")
    parser.add_argument("--by", choices=kinds, default="day", help="what to sum up by (day)")
    parser.add_argument("--since", default="30d", metavar="TIME", help="7d, month, all, 2026-11-01 … (30d)")
    parser.add_argument("--budget", default="*", metavar="NAME", help="of `override`: only this budget")
    _json(parser, "an array; of `forecast` one object")


def _init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="ask nothing; SOPHIA_PASSPHRASE protects the store if set")
    parser.add_argument("--recovery-key-file", metavar="F", help="a new file for the recovery key")


def _keys(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action="list", recovery_key_file=None)
    _json(parser, "an array")
    names = "[list | add | remove | rotate | recover | passphrase | recovery]"
    actions = parser.add_subparsers(metavar=names, parser_class=Parser)
    listing = actions.add_parser("list", help="list them (the default)", allow_abbrev=False)
    listing.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")
    add = actions.add_parser("add", help="add a passphrase, a key in the ssh-agent, or the keyring", allow_abbrev=False)
    add.add_argument("kind", choices=("passphrase", "ssh-agent", "keyring"), help="what is to open the store")
    add.add_argument(
        "key", nargs="?", default="", metavar="KEY", help="of the ssh-agent: its .pub file, fingerprint or comment"
    )
    remove = actions.add_parser("remove", help="remove one", allow_abbrev=False)
    remove.add_argument("slot", metavar="ID", help="the beginning of its id, or its kind")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    rotate = actions.add_parser("rotate", help="give the store new keys", allow_abbrev=False)
    recover = actions.add_parser("recover", help="set a new passphrase with the recovery key", allow_abbrev=False)
    recover.add_argument("--recovery-key-file", metavar="F", help="the file the recovery key stands in")
    passphrase = actions.add_parser("passphrase", help="set the passphrase", allow_abbrev=False)
    recovery = actions.add_parser("recovery", help="make a recovery key", allow_abbrev=False)
    recovery.add_argument("--recovery-key-file", metavar="F", help="a new file for it, instead of showing it")
    chosen = {"list": listing, "add": add, "remove": remove, "rotate": rotate, "recover": recover}
    for name, each in {**chosen, "passphrase": passphrase, "recovery": recovery}.items():
        each.set_defaults(action=name)


def _login(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(leave=False, how="auto")
    parser.add_argument("provider", nargs="?", default="", metavar="PROVIDER", help="the one to sign in at by default")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--device", dest="how", action="store_const", const="device", help="with a code typed in any browser"
    )
    how.add_argument(
        "--no-browser", dest="how", action="store_const", const="paste", help="by pasting the address a browser ends at"
    )
    how.add_argument("--with-token", action="store_true", help="with an API key, which stdin holds")


def _logout(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(leave=True)
    parser.add_argument("provider", nargs="?", default="", metavar="PROVIDER", help="the one `sophia login` takes")


def _auth(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=("status",), default="status", help="show the accounts")
    _json(parser, "an array")


def _audit(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action="show")
    parser.add_argument("--limit", type=_count, default=50, metavar="N", help="how many at most (50)")
    _json(parser, "an array, newest first; of verify, one object")
    actions = parser.add_subparsers(metavar="[show | verify | export]", parser_class=Parser)
    show = actions.add_parser("show", help="list what was done, newest first (the default)", allow_abbrev=False)
    show.add_argument("--limit", type=_count, default=argparse.SUPPRESS, metavar="N", help="how many at most")
    verify = actions.add_parser("verify", help="check that nobody changed it; 3 when somebody did", allow_abbrev=False)
    for name, chosen in (("show", show), ("verify", verify)):
        chosen.set_defaults(action=name)
        chosen.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")
    export = actions.add_parser("export", help="write all of it, one JSON object a line", allow_abbrev=False)
    export.set_defaults(action="export")
    export.add_argument("file", metavar="FILE", help="a new file; `-` is stdout")


def _store(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="check | repair | salvage | accept", parser_class=Parser, required=True)
    check = actions.add_parser("check", help="check that it is sound; 3 when it is not", allow_abbrev=False)
    check.add_argument("--full", action="store_true", help="read every page; takes seconds per gigabyte")
    _json(check, "an array")
    repair = actions.add_parser("repair", help="back it up, then mend indexes, counts, references", allow_abbrev=False)
    _json(repair, "one object")
    salvage = actions.add_parser("salvage", help="make a new store from all that can be read", allow_abbrev=False)
    salvage.add_argument("--to", metavar="FOLDER", help="a new folder for it, instead of the place of the old one")
    salvage.add_argument("--yes", action="store_true", help="put the damaged store aside without asking")
    _json(salvage, "one object")
    accept = actions.add_parser("accept", help="go on from an earlier state that was put back", allow_abbrev=False)
    accept.add_argument("--reason", default="", metavar="TEXT", help="why; it is kept in the audit log")
    accept.add_argument("--yes", action="store_true", help="do not ask")
    _json(accept, "one object")
    for name, chosen in (("check", check), ("repair", repair), ("salvage", salvage), ("accept", accept)):
        chosen.set_defaults(action=name)


def _purge(purge: argparse.ArgumentParser) -> None:
    purge.add_argument("ids", nargs="*", metavar="ID", help="ids of sessions, or their beginnings")
    purge.add_argument("--all-deleted", action="store_true", help="what is left of those that were deleted before")
    purge.add_argument("--older-than", metavar="AGE", help="those that nobody used for so long: 90d, 12w, 6m, 2y")
    purge.add_argument("--backups", action="store_true", help="remove SOPHIA's own backups that have them, too")
    purge.add_argument("--yes", action="store_true", help="do not ask")
    purge.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="one object")
    purge.set_defaults(action="purge")


def _doctor(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--full", action="store_true", help="read the whole store and start the embedded model")
    _json(parser, "one object with all checks")


def _backup(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action="now", folder=None)
    parser.add_argument("--to", metavar="PATH", help="a folder or a new file, instead of the usual folder")
    parser.add_argument("--keep", type=_count, metavar="N", help="then delete all but the N newest, N days and N weeks")
    _json(parser, "one object, or an array for `list`")
    actions = parser.add_subparsers(metavar="[list | verify]", parser_class=Parser)
    listing = actions.add_parser("list", help="list the backups there are", allow_abbrev=False)
    listing.add_argument("folder", nargs="?", metavar="DIR", help="another folder than the usual one")
    verify = actions.add_parser("verify", help="open a backup and read all of it", allow_abbrev=False)
    verify.add_argument("file", metavar="FILE", help="the backup")
    for name, chosen in (("list", listing), ("verify", verify)):
        chosen.set_defaults(action=name)
        chosen.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="as JSON")


def _restore(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action="restore")
    parser.add_argument("file", metavar="FILE", help="the backup")
    parser.add_argument("--to", metavar="HOME", help="into another home, as SOPHIA_HOME names it")
    parser.add_argument("--yes", action="store_true", help="put a store that is there aside without asking")
    _json(parser, "one object")


def _export(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action="export")
    parser.add_argument("id", nargs="?", metavar="ID", help="the session's id or its beginning; the one used last")
    parser.add_argument("--all", action="store_true", help="every session")
    parser.add_argument("--format", choices=("md", "json", "html"), help="by default what FILE ends in, else md")
    parser.add_argument("--to", metavar="FILE", help="a new file; without it, stdout")


def _import(parser: argparse.ArgumentParser) -> None:
    kinds = ("auto", "chatgpt", "claude", "open-webui", "llm", "oterm", "sophia")
    parser.set_defaults(action="import")
    parser.add_argument("file", metavar="FILE", help="the export itself: a .zip, .json or .db file")
    parser.add_argument("--from", dest="source", choices=kinds, default="auto", help="what wrote it, if not found out")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would be imported")
    _json(parser, "one object")


def _of(module: str, name: str) -> Callable[[argparse.ArgumentParser], None]:
    """What a module of its own adds, which is loaded when its subcommand is."""
    return lambda parser: getattr(importlib.import_module(module), name)(parser)


def _json(parser: argparse.ArgumentParser, meaning: str) -> None:
    parser.add_argument("--json", action="store_true", help=meaning)


def _count(text: str) -> int:
    if text.isdecimal() and 0 < int(text) <= 1_000_000:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 1000000")


@dataclass(frozen=True, slots=True)
class Entry:
    """One subcommand: what `--help` says of it, its arguments, and the module whose `execute` carries it out."""

    help: str
    configure: Callable[[argparse.ArgumentParser], None]
    module: str
    words: str = ""
    """The positional argument that takes any number of words, with options between them."""

    def load(self) -> Execute:
        execute: Execute = importlib.import_module(self.module).execute
        return execute


SWARM: Final = "sophia_cli.parser_swarm"
BOARD: Final = "sophia_cli.parser_board"
SUBCOMMANDS: Mapping[str, Entry] = MappingProxyType(
    {
        "ask": Entry("Ask something; the answer goes to stdout.", _ask, "sophia_cli.ask", "prompt"),
        "run": Entry("Run command lines, such as 'chat.send \"hi\"'.", _run, "sophia_cli.run", "lines"),
        "commands": Entry("List every command there is.", _commands, "sophia_cli.catalogue"),
        "sessions": Entry("List, show, search and delete conversations.", _sessions, "sophia_cli.sessions"),
        "macro": Entry("Run, list and check macros.", _macro, "sophia_cli.macro"),
        "persona": Entry("List, show and share personas: who answers.", _persona, "sophia_cli.persona"),
        "voice": Entry("Speak and listen: devices, a test, files of sound.", _voice, "sophia_cli.voice"),
        "top": Entry("Watch servers, GPUs and this app live, in the metrics pane alone.", _top, "sophia_cli.top"),
        "metrics": Entry("See what servers and GPUs measure, or tell Prometheus.", _metrics, "sophia_cli.metrics"),
        "alerts": Entry("See what is wrong now, who is told, and what was not taken.", _alerts, "sophia_cli.alerts"),
        "cost": Entry("See what answers cost, the budgets, and what the month will cost.", _cost, "sophia_cli.cost"),
        "swarm": Entry("Run plans with agents; watch, steer and replay.", _of(SWARM, "swarm"), "sophia_cli.swarm"),
        "approvals": Entry("See and decide what waits to be allowed.", _of(SWARM, "approvals"), "sophia_cli.approvals"),
        "board": Entry("See what is to be done, and let plans do it.", _of(BOARD, "board"), "sophia_cli.board"),
        "mcp": Entry("Use other people's tools: MCP servers.", _of("sophia_cli.parser_mcp", "mcp"), "sophia_cli.mcp"),
        "acp": Entry("Let an editor use SOPHIA as its agent (ACP).", lambda parser: None, "sophia_cli.acp"),
        "ctl": Entry("Drive a running app, or watch what happens in it.", _ctl, "sophia_cli.ctl", "lines"),
        "init": Entry("Make the encrypted store before its first use.", _init, "sophia_cli.init"),
        "keys": Entry("See and change what unlocks the store.", _keys, "sophia_cli.keys"),
        "login": Entry("Sign in to a provider, or keep its API key.", _login, "sophia_cli.login"),
        "logout": Entry("Sign out of a provider, and forget its API key.", _logout, "sophia_cli.login"),
        "auth": Entry("See who is signed in where, and with what roles.", _auth, "sophia_cli.auth"),
        "backup": Entry("Back the store up into one encrypted file.", _backup, "sophia_cli.backup"),
        "restore": Entry("Put a backup in the place of the store.", _restore, "sophia_cli.backup"),
        "export": Entry("Write sessions as Markdown, JSON or HTML.", _export, "sophia_cli.exchange"),
        "import": Entry("Take over conversations of other programs.", _import, "sophia_cli.exchange"),
        "store": Entry("Check and repair the store, or save what can be read of it.", _store, "sophia_cli.store"),
        "audit": Entry("See what was done with the store and its keys, and prove it.", _audit, "sophia_cli.audit"),
        "doctor": Entry("Check everything SOPHIA needs, and say how to mend it.", _doctor, "sophia_cli.doctor"),
    }
)


def top_help() -> str:
    """The text of `sophia --help`."""
    width = max(map(len, SUBCOMMANDS)) + 2
    return "\n".join(
        [
            "usage: sophia [--help | --version | --linear | --chaos FILE] [COMMAND …]",
            "",
            "A terminal-first AI workstation. Without a command, the terminal app starts; with --linear it talks in",
            "plain lines, for screen readers and plain terminals.",
            "",
            *(f"  {name:<{width}}{entry.help}" for name, entry in SUBCOMMANDS.items()),
            "",
            "`sophia COMMAND --help` tells more about each of them.",
            "",
            EPILOGUE,
        ]
    )


def parse(name: str, words: Sequence[str]) -> tuple[Entry, argparse.Namespace]:
    """The subcommand and its arguments. Raises Quit; raises SystemExit when `--help` was printed."""
    entry = _find(name)
    raw = argparse.RawDescriptionHelpFormatter
    parser = Parser(
        prog=f"sophia {name}", description=entry.help, epilog=EPILOGUE, formatter_class=raw, allow_abbrev=False
    )
    entry.configure(parser)
    if not entry.words:
        return entry, parser.parse_args(list(words))
    # What follows `--` is kept from the parser, whose treatment of it in a mixed line differs from version to version.
    end = list(words).index("--") if "--" in words else len(words)
    args = parser.parse_intermixed_args(list(words[:end]))
    setattr(args, entry.words, [*getattr(args, entry.words), *words[end + 1 :]])
    return entry, args


def _find(name: str) -> Entry:
    if entry := SUBCOMMANDS.get(name):
        return entry
    if name.startswith("-"):
        raise usage_error(f"there is no option {name!r}", "See `sophia --help`.")
    import difflib

    near = difflib.get_close_matches(name, SUBCOMMANDS, n=1)
    hint = f"Did you mean `sophia {near[0]}`?" if near else 'To ask something: sophia ask "…"'
    raise usage_error(f"there is no command {name!r}", hint)
