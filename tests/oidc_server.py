"""A real OpenID Connect server on loopback: Django OAuth Toolkit, in a process of its own.

    with OidcServer() as server:
        ... server.issuer ...; await server.type_code("device", code)

It knows one person and two public clients, `browser` (authorization code with PKCE) and `device` (RFC 8628). Refresh
tokens are rotated, and using one twice revokes its family. The person acts through the server's own pages and forms.
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self
from urllib.parse import urlencode, urljoin, urlsplit

ROOT = Path(__file__).parents[1]
NAME, PASSWORD = "ada", "a-long-password-for-tests"  # pragma: allowlist secret
ROLES = ["operator", "user"]
TOKEN_LIFE_S = 900


class OidcServer:
    """The server as a test sees it, and the person at their browser."""

    def __init__(self) -> None:
        self.issuer = ""
        self._folder = TemporaryDirectory()
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.oidc_server", self._folder.name]
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        # It ends at once when it cannot start, so this never waits for nothing.
        self.issuer = self._process.stdout.readline().strip()
        assert self.issuer.startswith("http://127.0.0.1:"), "the OIDC server did not start"
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    async def visit(self, address: str, *, allow: bool = True) -> str:
        """Sign in at an authorization address and decide; return the address the browser is sent to."""
        return await asyncio.to_thread(self._decide, address, allow)

    async def type_code(self, address: str, code: str, *, allow: bool = True) -> None:
        """Type a device code at its address and decide."""
        await asyncio.to_thread(self._type, address, code, allow)

    def _decide(self, address: str, allow: bool) -> str:
        browser = Browser()
        page = browser.signed_in(address)
        fields = {name: value for name, value in hidden_fields(page) if name != "allow"}
        return browser.post(address, {**fields, **({"allow": "Authorize"} if allow else {})})

    def _type(self, address: str, code: str, allow: bool) -> None:
        browser = Browser()
        browser.signed_in(address)
        confirm = urljoin(address, browser.post(address, {"user_code": code}))
        browser.get(confirm)
        browser.post(confirm, {"action": "accept" if allow else "deny"})


class Browser:
    """Just enough of one: cookies and forms, and it does not follow redirects."""

    def __init__(self) -> None:
        import requests

        self._session = requests.Session()
        self._session.trust_env = False

    def get(self, address: str) -> str:
        answer = self._session.get(address, timeout=20)
        answer.raise_for_status()
        return str(answer.text)

    def post(self, address: str, fields: dict[str, str]) -> str:
        """Send a form; return where it leads."""
        form = {**fields, "csrfmiddlewaretoken": self._session.cookies["csrftoken"]}
        answer = self._session.post(address, data=form, allow_redirects=False, timeout=20)
        answer.raise_for_status()
        return str(answer.headers.get("location", ""))

    def signed_in(self, address: str) -> str:
        """Open a page that wants a person, and be that person."""
        parts = urlsplit(address)
        login = f"{parts.scheme}://{parts.netloc}/accounts/login/?{urlencode({'next': address})}"
        self.get(login)
        self.post(login, {"username": NAME, "password": PASSWORD})
        return self.get(address)


def hidden_fields(page: str) -> list[tuple[str, str]]:
    """The named inputs of a page with their values."""
    import html

    found = []
    for tag in re.findall(r"<input[^>]*>", page):
        name, value = (re.search(rf'{key}="([^"]*)"', tag) for key in ("name", "value"))
        if name:
            found.append((html.unescape(name[1]), html.unescape(value[1]) if value else ""))
    return found


# What follows runs in the server's process only.

LOGIN_PAGE = '<form method="post">{% csrf_token %}{{ form }}<button>Sign in</button></form>'


def serve(folder: Path) -> None:
    """Run the server until it is killed; prints its issuer once it listens."""
    import socketserver
    from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

    class Quiet(WSGIRequestHandler):
        def log_message(self, format: str, *args: Any) -> None: ...

    class Server(socketserver.ThreadingMixIn, WSGIServer):
        daemon_threads = True

    def nothing(environment: Any, respond: Any) -> list[bytes]:
        return []

    server = make_server("127.0.0.1", 0, nothing, Server, Quiet)
    issuer = f"http://127.0.0.1:{server.server_port}/o"
    server.set_app(application(folder, issuer))
    print(issuer, flush=True)
    server.serve_forever()


def application(folder: Path, issuer: str) -> Any:
    """The WSGI application, with its database made and filled."""
    import django
    from django.conf import settings

    (folder / "registration").mkdir()
    (folder / "registration" / "login.html").write_text(LOGIN_PAGE)
    settings.configure(**configuration(folder, issuer))
    django.setup()
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application

    call_command("migrate", verbosity=0)
    fill()
    return get_wsgi_application()


def configuration(folder: Path, issuer: str) -> dict[str, Any]:
    """Django's settings."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return {
        "SECRET_KEY": "for-tests-on-loopback-only",  # pragma: allowlist secret
        "ALLOWED_HOSTS": ["127.0.0.1"],
        "ROOT_URLCONF": "tests.oidc_server_urls",
        "INSTALLED_APPS": [
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "oauth2_provider",
        ],
        "MIDDLEWARE": [
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
        ],
        "TEMPLATES": [
            {
                "BACKEND": "django.template.backends.django.DjangoTemplates",
                "DIRS": [str(folder)],
                "APP_DIRS": True,
                "OPTIONS": {"context_processors": ["django.template.context_processors.request"]},
            }
        ],
        "DATABASES": {
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": str(folder / "server.db"),
                "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
            }
        },
        "PASSWORD_HASHERS": ["django.contrib.auth.hashers.MD5PasswordHasher"],
        "LOGIN_URL": "/accounts/login/",
        "USE_TZ": True,
        "OAUTH2_PROVIDER": {
            "OIDC_ENABLED": True,
            "OIDC_ISS_ENDPOINT": issuer,
            "OIDC_RSA_PRIVATE_KEY": key.decode(),
            "OAUTH2_VALIDATOR_CLASS": "tests.oidc_server_urls.Validator",
            "SCOPES": {"openid": "Who you are", "profile": "Your name and roles"},
            "ACCESS_TOKEN_EXPIRE_SECONDS": TOKEN_LIFE_S,
            "ROTATE_REFRESH_TOKEN": True,
            "REFRESH_TOKEN_REUSE_PROTECTION": True,
            "PKCE_REQUIRED": True,
            "OAUTH_DEVICE_VERIFICATION_URI": f"{issuer}/device/",
            "OAUTH_DEVICE_VERIFICATION_URI_COMPLETE": lambda code: f"{issuer}/device/?user_code={code}",
            "DEVICE_FLOW_INTERVAL": 1,
        },
        "DEFAULT_AUTO_FIELD": "django.db.models.AutoField",
        "LOGGING_CONFIG": None,
    }


def fill() -> None:
    """The person, their roles, and the two clients."""
    from django.contrib.auth.models import Group, User
    from oauth2_provider.models import Application

    person = User.objects.create_user(NAME, "ada@example.test", PASSWORD)
    person.groups.set([Group.objects.create(name=role) for role in ROLES])
    public = {"client_type": Application.CLIENT_PUBLIC, "algorithm": Application.RS256_ALGORITHM, "name": "SOPHIA"}
    Application.objects.create(
        client_id="browser",
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris="http://127.0.0.1/callback",
        **public,
    )
    Application.objects.create(client_id="device", authorization_grant_type=Application.GRANT_DEVICE_CODE, **public)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
