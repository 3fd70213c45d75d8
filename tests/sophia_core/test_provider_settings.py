"""What a person writes about providers: every mistake has its line, and the rest holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from sophia_core.settings import Loaded, ProviderSettings, load_settings

TWO = """[[providers]]
name = "a"
base_url = "http://a/v1"

[[providers]]
name = "b"
base_url = "http://b/v1"
"""


def load(home: Path, text: str = "", **env: str) -> Loaded:
    (home / "config.toml").write_text(text, "utf-8")
    return load_settings({"SOPHIA_HOME": str(home), **env})


def names(loaded: Loaded) -> list[str]:
    return [each.name for each in loaded.settings.providers]


@pytest.mark.parametrize(
    "line",
    [
        "models = 'm'",
        "kind = 'tgi'",
        "issuer = 'box.example'",
        "client_id = ''",
        "scopes = 'openid'",
        "price_prompt = -1",
        "price_completion = 'dear'",
        "max_concurrent = 0",
        "capabilities = ['chat', 'fly']",
        "capabilities = []",
        "tier = 10",
        "region = 3",
        "paid = 'perhaps'",
        "total_timeout = 0",
    ],
)
def test_a_wrong_value_of_a_provider_has_its_line_and_its_default(tmp_path: Path, line: str) -> None:
    loaded = load(tmp_path, f"{TWO}\n{line}\n")
    (problem,) = loaded.problems
    assert problem.where == f"{tmp_path}/config.toml:9"
    assert line.split()[0] in problem.message and "default" in problem.fix
    assert loaded.settings.providers[1] == ProviderSettings(name="b", base_url="http://b/v1")


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("routing", "daily_cap_usd = -2"),
        ("routing", "probe = 'x'"),
        ("routing", "embedded_fallback = 7"),
        ("routing", "region = 1"),
        ("chat", "cache = 'x'"),
        ("chat", "cache_hours = 0"),
    ],
)
def test_a_wrong_value_of_a_table_has_its_line(tmp_path: Path, table: str, line: str) -> None:
    (problem,) = load(tmp_path, f"{TWO}\n[{table}]\n{line}\n").problems
    assert problem.where == f"{tmp_path}/config.toml:10"
    assert f"{table}.{line.split()[0]}" in problem.message


@pytest.mark.parametrize(
    ("text", "left", "line", "says"),
    [
        (TWO.replace('"b"', '"a"'), ["a"], 6, "'a' is there twice"),
        (TWO.replace('"b"', '"auto"'), ["a"], 6, "'auto' has a meaning of its own"),
        (TWO.replace('"a"', '"embedded"'), ["b"], 2, "'embedded' has a meaning of its own"),
        (f'provider = "q"\n{TWO}', ["a", "b"], 1, "no provider 'q'"),
    ],
)
def test_a_name_is_one_providers_and_nobody_elses(
    tmp_path: Path, text: str, left: list[str], line: int, says: str
) -> None:
    loaded = load(tmp_path, text)
    (problem,) = loaded.problems
    assert (names(loaded), problem.where) == (left, f"{tmp_path}/config.toml:{line}")
    assert says in problem.message
    assert loaded.settings.provider is None


def test_this_machine_may_be_chosen_by_name(tmp_path: Path) -> None:
    loaded = load(tmp_path, f'provider = "embedded"\n{TWO}')
    assert (loaded.problems, loaded.settings.provider) == ((), "embedded")


def test_the_environment_numbers_providers(tmp_path: Path) -> None:
    alone = load(
        tmp_path,
        SOPHIA_PROVIDERS__0__NAME="x",
        SOPHIA_PROVIDERS__0__BASE_URL="http://x/v1",
        SOPHIA_PROVIDERS__1__NAME="y",
        SOPHIA_PROVIDERS__1__BASE_URL="http://y/v1",
    )
    assert (names(alone), alone.problems) == (["x", "y"], ())
    over = load(tmp_path, TWO, SOPHIA_PROVIDERS__1__MODEL="m", SOPHIA_PROVIDERS__1__TIER="3")
    assert [(each.name, each.model, each.tier) for each in over.settings.providers] == [
        ("a", None, None),
        ("b", "m", 3),
    ]
    assert over.problems == ()


def test_a_wrong_number_or_value_of_the_environment_is_named(tmp_path: Path) -> None:
    loaded = load(tmp_path, TWO, SOPHIA_PROVIDERS__1__TIER="99", SOPHIA_PROVIDERS__7__TIER="1", SOPHIA_PROVIDERS__X="1")
    assert names(loaded) == ["a", "b"]
    assert [problem.where for problem in loaded.problems] == [
        "environment variable SOPHIA_PROVIDERS__X",
        "environment variable SOPHIA_PROVIDERS__7",
        "environment variable SOPHIA_PROVIDERS__1__TIER",
    ]


def test_what_the_environment_says_stays_with_its_provider_when_another_is_left_out(tmp_path: Path) -> None:
    broken = TWO.replace('base_url = "http://a/v1"\n', "")
    loaded = load(tmp_path, broken, SOPHIA_PROVIDERS__0__MODEL="for-a", SOPHIA_PROVIDERS__1__MODEL="for-b")
    assert [(each.name, each.model) for each in loaded.settings.providers] == [("b", "for-b")]


def test_a_whole_list_as_json_replaces_the_files(tmp_path: Path) -> None:
    loaded = load(tmp_path, TWO, SOPHIA_PROVIDERS='[{"name": "z", "base_url": "http://z/v1"}]')
    assert names(loaded) == ["z"]
