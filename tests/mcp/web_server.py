"""A server over HTTP that wants a sign-in, and signs people in itself: metadata, registration, PKCE, tokens."""

from __future__ import annotations

import base64
import hashlib
import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit


class WebServer(ThreadingHTTPServer):
    """Remembers who registered and who is signed in."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.base = f"http://127.0.0.1:{self.server_address[1]}"
        self.challenges: dict[str, str] = {}
        self.tokens: set[str] = set()
        self.renewed = self.registered = 0
        self.headers_seen: list[str | None] = []


class _Handler(BaseHTTPRequestHandler):
    server: WebServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""

    def do_GET(self) -> None:
        base, parts = self.server.base, urlsplit(self.path)
        if parts.path.startswith("/.well-known/oauth-protected-resource"):
            self._say({"resource": f"{base}/mcp", "authorization_servers": [base]})
        elif parts.path.startswith("/.well-known/oauth-authorization-server"):
            ends = {f"{each}_endpoint": f"{base}/{each}" for each in ("token",)}
            ends |= {"authorization_endpoint": f"{base}/authorize", "registration_endpoint": f"{base}/register"}
            can = {"response_types_supported": ["code"], "code_challenge_methods_supported": ["S256"]}
            self._say({"issuer": base, **ends, **can, "token_endpoint_auth_methods_supported": ["none"]})
        elif parts.path == "/authorize":
            asked = {name: each[0] for name, each in parse_qs(parts.query).items()}
            self.server.challenges["c0de"] = asked["code_challenge"]
            back = urlencode({"code": "c0de", "state": asked["state"]})
            self._say({}, 302, {"Location": f"{asked['redirect_uri']}?{back}"})
        else:
            self._say({}, 404 if parts.path != "/mcp" else 405)

    def do_POST(self) -> None:
        said = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if self.path == "/register":
            self.server.registered += 1
            self._say({**json.loads(said), "client_id": "me"}, 201)
        elif self.path == "/token":
            self._token({name: each[0] for name, each in parse_qs(said).items()})
        else:
            self._mcp(json.loads(said))

    def do_DELETE(self) -> None:
        self._say({}, 405)

    def _token(self, given: dict[str, str]) -> None:
        if given["grant_type"] == "refresh_token":
            self.server.renewed += 1
        else:
            challenge = base64.urlsafe_b64encode(hashlib.sha256(given["code_verifier"].encode()).digest()).decode()
            if challenge.rstrip("=") != self.server.challenges.get(given["code"]):
                return self._say({"error": "invalid_grant"}, 400)
        token = f"t{len(self.server.tokens)}"
        self.server.tokens.add(token)
        self._say({"access_token": token, "token_type": "Bearer", "expires_in": 3600, "refresh_token": "r"})

    def _mcp(self, message: dict[str, Any]) -> None:
        self.server.headers_seen.append(self.headers.get("X-Team"))
        if (self.headers.get("Authorization") or "").removeprefix("Bearer ") not in self.server.tokens:
            where = f'Bearer resource_metadata="{self.server.base}/.well-known/oauth-protected-resource"'
            return self._say({}, 401, {"WWW-Authenticate": where})
        made: dict[str, Any]
        match message.get("method"):
            case "initialize":
                about = {"name": "web", "version": "1"}
                made = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": about}
            case "tools/list":
                made = {"tools": [{"name": "add", "description": "Adds.", "inputSchema": {"type": "object"}}]}
            case "tools/call":
                made = {"content": [{"type": "text", "text": "3"}]}
            case _:
                return self._say({}, 202)
        self._say({"jsonrpc": "2.0", "id": message["id"], "result": made})

    def _say(self, what: dict[str, Any], status: int = 200, headers: dict[str, str] | None = None) -> None:
        body = json.dumps(what).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
