"""Signing in to a provider: what is kept, for whom, and how several processes share it."""

from __future__ import annotations

import asyncio
import hashlib
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from backend_client import HttpTransport, Secret
from backend_client.auth import Bearer, proof
from backend_client.device import DeviceCode
from backend_client.errors import BackendError, LoginNeeded, TimedOut, Unreachable
from backend_client.tokens import Tokens
from local_store.errors import StoreFull
from sophia_core import sign_ins
from sophia_core.commands import BadArguments, CommandError
from sophia_core.events import Event, TokenRenewed
from sophia_core.login import Account, Announcer, has_browser
from sophia_core.runtime import Runtime
from sophia_core.settings import load_settings
from sophia_core.sign_ins import SignIns
from tests.oidc_server import NAME, ROLES, OidcServer
from tests.scripted import ScriptedTransport

ROOT = Path(__file__).parents[2]
BOX = """
[[providers]]
name = "box"
base_url = "{base_url}"
model = "contract-model"
issuer = "{issuer}"
client_id = "{client}"
scopes = ["openid", "profile"]

[[providers]]
name = "keyed"
base_url = "http://127.0.0.1:9/v1"
api_key_env = "KEYED_API_KEY"
model = "m"
"""


@dataclass
class Person:
    """Signs in at the real server as soon as they are asked to."""

    server: OidcServer
    allow: bool = True
    tasks: list[asyncio.Task[object]] = field(default_factory=list)

    async def show_code(self, provider: str, code: DeviceCode) -> None:
        await self.server.type_code(code.address, code.code, allow=self.allow)

    async def open_page(self, provider: str, address: str) -> None:
        self.tasks.append(asyncio.create_task(self._browse(address)))

    async def ask_address(self, provider: str, address: str) -> str | None:
        return await self.server.visit(address, allow=self.allow)

    async def _browse(self, address: str) -> object:
        import requests

        return await asyncio.to_thread(requests.get, await self.server.visit(address, allow=self.allow), timeout=20)


@pytest.fixture(scope="module")
def oidc() -> Iterator[OidcServer]:
    with OidcServer() as running:
        yield running


@asynccontextmanager
async def house(
    home: Path, oidc: OidcServer | None = None, *, client: str = "device", scripted: bool = False, **env: str
) -> AsyncIterator[Runtime]:
    """A runtime whose first provider has somebody to sign in at."""
    home.mkdir(exist_ok=True)
    issuer = oidc.issuer if oidc else "https://login.test"
    config, text = home / "config.toml", BOX.format(base_url="http://127.0.0.1:9/v1", issuer=issuer, client=client)
    if not config.exists() or config.read_text() != text:  # another process may be reading it just now
        config.write_text(text)
    variables = {"SOPHIA_HOME": str(home), "SOPHIA_NO_KEYRING": "1", **env}
    transport = ScriptedTransport() if scripted else HttpTransport()
    runtime = Runtime(load_settings(variables), transport=transport, env=variables)
    if oidc:
        runtime.login.guide = Person(oidc)
    try:
        await runtime.start()
        yield runtime
    finally:
        await runtime.close()


async def proven(runtime: Runtime, name: str = "box") -> str:
    """What would be sent to the provider as a proof."""
    each = next(each for each in runtime.settings.providers if each.name == name)
    headers, _ = await proof(runtime.login.auth_for(each))
    return headers.get("authorization", "")


async def accounts(runtime: Runtime) -> dict[str, Account]:
    return {each.provider: each for each in await runtime.login.status()}


@pytest.mark.parametrize(("client", "how"), [("device", "device"), ("browser", "browser"), ("browser", "paste")])
async def test_a_person_signs_in_and_out(tmp_path: Path, oidc: OidcServer, client: str, how: str) -> None:
    async with house(tmp_path, oidc, client=client) as runtime:
        told: list[Event] = []
        runtime.bus.subscribe(told.append)
        with pytest.raises(LoginNeeded):
            await proven(runtime)
        said = await runtime.run("auth.login", "box", how)
        assert said == f"Signed in to box as {NAME} ({', '.join(ROLES)})."
        assert TokenRenewed("box", True, "signed in") in told
        sent = await proven(runtime)
        assert sent.startswith("Bearer ")
        account = (await accounts(runtime))["box"]
        assert (account.how, account.who, account.roles, account.kept) == (how, NAME, tuple(ROLES), "encrypted store")
        assert account.renewable
        assert account.expires_at is not None
    async with house(tmp_path, oidc, client=client) as runtime:
        assert await proven(runtime) == sent, "it is kept"
        assert await runtime.run("auth.logout") == "Signed out of box."
        with pytest.raises(LoginNeeded, match="nobody is signed in"):
            await proven(runtime)
        assert await runtime.run("auth.logout", "box") == "Nobody was signed in to box."


async def test_a_person_who_says_no(tmp_path: Path, oidc: OidcServer) -> None:
    async with house(tmp_path, oidc) as runtime:
        runtime.login.guide = Person(oidc, allow=False)
        with pytest.raises(BackendError, match="box: the sign-in was refused"):
            await runtime.run("auth.login", "box", "device")
        assert (await accounts(runtime))["box"].how == "not signed in"


async def test_nobody_to_ask_changes_nothing(tmp_path: Path, oidc: OidcServer) -> None:
    async with house(tmp_path, oidc, client="browser") as runtime:
        runtime.login.guide = Announcer(runtime.bus)
        with pytest.raises(CommandError, match="nothing changed"):
            await runtime.run("auth.login", "box", "paste")


async def test_tokens_lie_in_the_encrypted_store_only(tmp_path: Path, oidc: OidcServer) -> None:
    async with house(tmp_path, oidc) as runtime:
        await runtime.run("auth.login", "box", "device")
        token = (await proven(runtime)).removeprefix("Bearer ").encode()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) > 3
    assert not [path for path in files if token in path.read_bytes()]


CHILD = """
import asyncio, hashlib, sys
from pathlib import Path
from tests.sophia_core.test_login import house, proven
from tests.oidc_server import OidcServer
from sophia_core.events import TokenRenewed

async def main():
    server = OidcServer()
    server.issuer = sys.argv[2]
    async with house(Path(sys.argv[1]), server) as runtime:
        renewals = []
        runtime.bus.subscribe(lambda event: renewals.append(event) if isinstance(event, TokenRenewed) else None)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        sent = await asyncio.gather(*(proven(runtime) for _ in range(16)))
        print(len(renewals), *{hashlib.sha256(each.encode()).hexdigest() for each in sent}, flush=True)

asyncio.run(main())
"""


async def expire(runtime: Runtime, provider: str = "box") -> Tokens:
    """Makes the kept access token an old one."""
    kept = SignIns(runtime.vault)
    tokens = await kept.load(provider)
    assert tokens is not None
    old = replace(tokens, issued_at=tokens.issued_at - 2000, expires_at=(tokens.expires_at or 0) - 2000)
    await kept.save(provider, old)
    return old


async def test_processes_share_a_sign_in_and_renew_it_once(tmp_path: Path, oidc: OidcServer) -> None:
    async with house(tmp_path, oidc) as runtime:
        await runtime.run("auth.login", "box", "device")
        old = await expire(runtime)
        pipe = asyncio.subprocess.PIPE
        command = (sys.executable, "-c", CHILD, str(tmp_path), oidc.issuer)
        children = [await asyncio.create_subprocess_exec(*command, cwd=ROOT, stdin=pipe, stdout=pipe) for _ in range(3)]
        async with asyncio.timeout(90):
            for child in children:
                assert child.stdout is not None
                assert await child.stdout.readline() == b"ready\n"
            ends = await asyncio.gather(*(child.communicate(b"go\n") for child in children))
        said = [out.decode().split() for out, _ in ends]
        assert sorted(int(words[0]) for words in said) == [0, 0, 1], "one of them renewed it, once"
        assert len({word for words in said for word in words[1:]}) == 1, "all use the same token"
        runtime.login._proofs.clear()
        mine = await proven(runtime)
        assert said[0][1] == hashlib.sha256(mine.encode()).hexdigest()
        assert mine != f"Bearer {old.access.reveal()}"
        # Had the refresh token been used twice, the server would have revoked all of its family.
        await expire(runtime)
        runtime.login._proofs.clear()
        assert await proven(runtime) != mine


async def test_a_withdrawn_sign_in_asks_for_a_person(tmp_path: Path, oidc: OidcServer) -> None:
    async with house(tmp_path, oidc) as runtime:
        await runtime.run("auth.login", "box", "device")
        tokens = await SignIns(runtime.vault).load("box")
        assert tokens is not None
        oauth = runtime.login._oauth(runtime.settings.providers[0])
        assert oauth is not None
        await oauth.revoke(tokens)
        await expire(runtime)
        for _ in range(2):
            with pytest.raises(LoginNeeded) as caught:
                await proven(runtime)
            assert caught.value.hint == "Sign in with `sophia login box`."
        assert (await accounts(runtime))["box"].how == "not signed in"


async def test_a_sign_in_server_that_is_gone_is_no_reason_to_sign_in_again(tmp_path: Path) -> None:
    server = OidcServer()
    with server:
        async with house(tmp_path, server) as runtime:
            await runtime.run("auth.login", "box", "device")
            await expire(runtime)
    async with house(tmp_path, server) as runtime:
        with pytest.raises(Unreachable):
            await proven(runtime)
        assert (await accounts(runtime))["box"].who == NAME
        assert "could not be told" in str(await runtime.run("auth.logout", "box"))
        assert (await accounts(runtime))["box"].how == "not signed in"


async def test_a_key_is_kept_and_forgotten(tmp_path: Path) -> None:
    async with house(tmp_path, scripted=True) as runtime:
        assert await proven(runtime, "keyed") == ""
        assert "encrypted store" in await runtime.login.keep_key("keyed", Secret("sk-kept\n"))
        assert await proven(runtime, "keyed") == "Bearer sk-kept"
        assert (await accounts(runtime))["keyed"].how == "key"
    async with house(tmp_path, scripted=True) as runtime:
        assert await proven(runtime, "keyed") == "Bearer sk-kept"
        assert await runtime.run("auth.logout", "keyed") == "The API key of keyed is forgotten."
        assert await proven(runtime, "keyed") == ""


async def test_a_key_goes_only_to_the_address_it_was_given_for(tmp_path: Path) -> None:
    async with house(tmp_path, scripted=True) as runtime:
        await runtime.login.keep_key("keyed", Secret("sk-kept"))
        each = runtime.settings.providers[1]
        moved = each.model_copy(update={"base_url": "http://evil.test/v1"})
        runtime.login._proofs.clear()
        assert await proof(runtime.login.auth_for(moved)) == ({}, None)
        runtime.login._proofs.clear()
        elsewhere = each.model_copy(update={"base_url": "http://127.0.0.1:9/v2"})
        assert (await proof(runtime.login.auth_for(elsewhere)))[0] == {"authorization": "Bearer sk-kept"}


async def test_a_key_in_the_environment_goes_first(tmp_path: Path) -> None:
    async with house(tmp_path, scripted=True, KEYED_API_KEY="sk-env") as runtime:
        assert "goes first" in await runtime.login.keep_key("keyed", Secret("sk-kept"))
        account = (await accounts(runtime))["keyed"]
        assert (account.how, account.kept) == ("environment", "$KEYED_API_KEY")


async def test_a_changed_key_is_seen_when_the_old_one_is_refused(tmp_path: Path) -> None:
    async with house(tmp_path, scripted=True) as runtime, house(tmp_path, scripted=True) as other:
        await runtime.login.keep_key("keyed", Secret("sk-old"))
        auth = runtime.login.auth_for(runtime.settings.providers[1])
        assert isinstance(auth, Bearer)
        token = await auth.source.token()
        assert token == Secret("sk-old")
        assert not await auth.source.refused(token)
        await other.login.keep_key("keyed", Secret("sk-new"))
        assert await auth.source.refused(token)
        assert await auth.source.token() == Secret("sk-new")
        assert auth.source.redact("sk-new") == "•••"


@pytest.mark.parametrize("key", ["", "  \n", "two\nlines", "schlüssel"])
async def test_what_cannot_be_a_key_is_refused(tmp_path: Path, key: str) -> None:
    async with house(tmp_path, scripted=True) as runtime:
        with pytest.raises(BadArguments) as caught:
            await runtime.login.keep_key("keyed", Secret(key))
        assert key.strip() not in str(caught.value) or not key.strip()


async def test_a_provider_that_is_not_there(tmp_path: Path) -> None:
    async with house(tmp_path, scripted=True) as runtime:
        for line in ("auth.login nowhere", "auth.logout nowhere"):
            with pytest.raises(BadArguments, match="no provider 'nowhere'") as caught:
                await runtime.dispatch(line)
            assert "box, keyed" in caught.value.hint
        with pytest.raises(CommandError, match="nobody to sign in at") as wrong:
            await runtime.dispatch("auth.login keyed")
        assert "--with-token" in wrong.value.hint


async def test_a_locked_store_says_what_to_do(tmp_path: Path) -> None:
    async with house(tmp_path, scripted=True, SOPHIA_PASSPHRASE="a passphrase") as runtime:
        await runtime.vault.get()
    async with house(tmp_path, scripted=True) as runtime:
        assert runtime.vault.state == "locked"
        with pytest.raises(LoginNeeded) as caught:
            await proven(runtime)
        assert "unlock" in caught.value.hint.lower()
        assert await proven(runtime, "keyed") == ""


async def test_a_lock_that_is_held_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sign_ins, "LOCK_S", 0.01)
    async with house(tmp_path, scripted=True) as runtime:
        kept = SignIns(runtime.vault)
        async with kept.lock("box"), kept.lock("keyed"):
            with pytest.raises(TimedOut):
                async with kept.lock("box"):
                    raise AssertionError("two hold the lock")
        async with kept.lock("box"):
            pass


async def test_a_full_disk_does_not_lose_a_renewed_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with house(tmp_path, scripted=True) as runtime:
        store = await runtime.vault.get()
        set_secret, full = store.secrets.set, [True]

        async def set_if_room(name: str, value: str) -> None:
            if full:
                full.clear()
                raise StoreFull("no space left")
            await set_secret(name, value)

        monkeypatch.setattr(store.secrets, "set", set_if_room)
        kept = SignIns(runtime.vault)
        await kept.save("box", Tokens(Secret("a"), None, 0.0, None))
        assert await kept.load("box") is None
        await runtime.vault.write_kept()
        assert await kept.load("box") is not None


async def test_a_kept_sign_in_that_is_nonsense_is_none(tmp_path: Path) -> None:
    async with house(tmp_path, scripted=True) as runtime:
        await (await runtime.vault.get()).secrets.set("sign-in:box", "{")
        with pytest.raises(LoginNeeded, match="nobody"):
            await proven(runtime)


@pytest.mark.parametrize(
    ("env", "platform", "expected"),
    [
        ({}, "linux", False),
        ({"DISPLAY": ":0"}, "linux", True),
        ({"WAYLAND_DISPLAY": "wayland-0"}, "linux", True),
        ({"DISPLAY": ":0", "SSH_CONNECTION": "1 2 3 4"}, "linux", False),
        ({}, "darwin", True),
        ({"SSH_TTY": "/dev/pts/0"}, "darwin", False),
    ],
)
def test_where_a_browser_would_be_seen(env: dict[str, str], platform: str, expected: bool) -> None:
    assert has_browser(env, platform) is expected
