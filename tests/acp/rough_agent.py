"""An outside agent for tests, without the SDK: it dies, hangs, floods and lies. Its one argument says how."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any


def answer(asked: dict[str, Any], result: object) -> None:
    """Answers a request."""
    say(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}).encode() + b"\n")


def say(text: bytes) -> None:
    """Writes all of it."""
    while text:
        text = text[os.write(1, text) :]


def prompted(how: str) -> str:
    """Does what it is here for; returns its last words."""
    match how:
        case "dying":
            say_words = b"out of luck\n"
            os.write(2, say_words)
            os._exit(3)
        case "hanging":
            update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "hanging"}}
            told = {"method": "session/update", "params": {"sessionId": "s", "update": update}}
            say(json.dumps({"jsonrpc": "2.0", **told}).encode() + b"\n")
            time.sleep(600)
        case "flooding":
            say(b'{"jsonrpc": "2.0", "x": "' + b"y" * (11 << 20) + b'"}\n')
        case "noise":
            say(b'hello\n[1, 2]\n{"method": 3}\n' + b"[" * 5000 + b'\n{"id": 0, "error": "x"}\n\xff\n')
            return "still here"
        case "itself":
            with open("own.txt", "w") as file:
                file.write("mine")
            return "written"
        case "peeking":
            with open(".env") as file:
                return f"sees {file.read()!r}"
    return "done"


def main(how: str) -> None:
    """Answers until nothing more is asked."""
    for line in sys.stdin:
        asked = json.loads(line)
        match asked.get("method"):
            case "initialize":
                answer(asked, {"protocolVersion": 9 if how == "future" else 1})
            case "session/new" if how == "login":
                error = {"code": -32000, "message": "Authentication required"}
                say(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}).encode() + b"\n")
            case "session/new":
                answer(asked, {"sessionId": "s"})
            case "session/prompt":
                try:
                    text = prompted(how)
                except OSError as error:
                    text = f"not done: {error.strerror}"
                update = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}
                told = {"method": "session/update", "params": {"sessionId": "s", "update": update}}
                say(json.dumps({"jsonrpc": "2.0", **told}).encode() + b"\n")
                used = {"totalTokens": 30, "inputTokens": 20, "outputTokens": 10}
                answer(asked, {"stopReason": "refusal" if how == "refusing" else "end_turn", "usage": used})
            case _:
                pass


if __name__ == "__main__":
    main(sys.argv[1])
