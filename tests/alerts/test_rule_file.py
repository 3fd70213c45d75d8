"""`alerts.toml`: whatever stands in it, the sound entries count and the others are named by file and line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sophia_core.alerts.rule import Threshold
from sophia_core.alerts.rule_file import MOST, SHIPPED, load, parse, read
from sophia_core.alerts.secrets import accounts, variables

ROOT = Path(__file__).parents[2]
SOUND = """
[[rule]]
name = "slow"
signal = "time_to_first_token"
quantile = "p95"
above = 2.5
for = "2m"
receivers = ["oncall"]

[[receiver]]
name = "oncall"
kind = "pagerduty"
secret_env = "PD_KEY"

[[receiver]]
name = "mail"
kind = "email"
host = "mail.example.org"
user = "sophia"
from = "sophia@example.org"
to = ["ops@example.org"]
"""


def test_a_sound_file() -> None:
    file = parse(SOUND.encode(), "alerts.toml")
    (rule,) = file.rules
    assert file.problems == () and rule.where == "alerts.toml:3"
    assert rule.condition == Threshold("time_to_first_token", above=True, bound=2.5, quantile="p95")
    assert (rule.for_s, rule.receivers) == (120.0, ("oncall",))
    assert [(each.name, each.at) for each in file.receivers] == [
        ("oncall", "https://events.pagerduty.com/v2/enqueue"),
        ("mail", "https://mail.example.org:587"),
    ]
    assert [(each.name, each.base_url) for each in accounts(file.receivers)] == [
        ("alert:oncall", "https://events.pagerduty.com/v2/enqueue"),
        ("alert:mail", "https://mail.example.org:587"),
    ]


def test_the_shipped_rules_are_sound_and_each_says_what_to_do() -> None:
    file = read(SHIPPED)
    assert file.rules and file.problems == ()
    for rule in file.rules:
        assert (ROOT / rule.runbook).is_file(), rule.runbook


def test_an_own_rule_takes_the_place_of_a_shipped_one(tmp_path: Path) -> None:
    path = tmp_path / "alerts.toml"
    path.write_text('[[rule]]\nname = "gpu hot"\noff = true\n[[rule]]\nname = "errors"\nsignal = "x"\nabove = 1\n')
    rules = {rule.name: rule for rule in load(path).rules}
    assert "gpu hot" not in rules and rules["errors"].where.startswith(str(path))
    assert "target down" in rules
    assert [rule.name for rule in load(path, shipped=False).rules] == ["errors"]


def test_no_file_is_no_trouble(tmp_path: Path) -> None:
    file = load(tmp_path / "alerts.toml")
    assert file.problems == () and file.rules == read(SHIPPED).rules


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ('[[rule]]\nname = "x"\nsignl = "a"\nabove = 1', 3, "Did you mean 'signal'?"),
        ('[[rule]]\nname = "x"\nsignal = "a"', 2, "one of above and below"),
        ('[[rule]]\nname = "x"\nsignal = "a"\nabove = 1\nbelow = 2', 2, "one of above and below"),
        ('[[rule]]\nname = "x"\nsignal = "a"\nabove = nan', 4, "finite"),
        ('[[rule]]\nname = "x"\nsignal = "a"\nabove = 1\nfor = "2 parsecs"', 5, "is no duration"),
        ('[[rule]]\nname = "x"\nkind = "anomaly"', 2, "needs above"),
        ('[[rule]]\nname = "x"\nkind = "burn"\nwindows = [["1h", 3]]', 4, "This entry is left out"),
        ('[[rule]]\nsignal = "a"\nabove = 1', None, "is needed"),
        ('[[rule]]\nname = "x"\nsignal = "a"\nabove = 1\nreceivers = ["who"]', 5, "there is no receiver 'who'"),
        ('[[rule]]\nname = "x"\nsignal = "a"\nabove = 1\n[[rule]]\nname = "x"\nsignal = "b"\nabove = 1', 6, "twice"),
        ('[[receiver]]\nname = "x"\nkind = "pager"', 3, "'pagerduty', 'slack' or 'email'"),
        ('[[receiver]]\nname = "x"\nkind = "email"\nhost = "h"', 2, "needs host, from and to"),
        ('[[receiver]]\nname = "x"\nkind = "email"\nhost = "h"\nfrom = "a@b"\nto = ["a@b\\nBcc: c@d"]', 6, "e-mail"),
        ('[[receiver]]\nname = "x"\nkind = "slack"\nurl = "file:///etc/passwd"', 4, "http"),
        ('[[receiver]]\nname = "x"\nkind = "slack"\nsecret = "xoxb"', 4, "there is no 'secret'"),
        ('[[rules]]\nname = "x"', None, "Did you mean [[rule]]?"),
    ],
)
def test_what_is_wrong_is_named_and_the_rest_counts(text: str, line: int | None, said: str) -> None:
    file = parse(f"{text}\n{SOUND}".encode(), "alerts.toml")
    assert said in " ".join(str(each) for each in file.problems)
    if line is not None:
        assert file.problems[0].where == f"alerts.toml:{line}"
    assert [each.name for each in file.receivers][-2:] == ["oncall", "mail"]
    assert "slow" in {each.name for each in file.rules}


@pytest.mark.parametrize("text", ['[rule]\nname = "x"', "rule = 3", 'rule = ["x"]'])
def test_what_is_no_list_of_tables(text: str) -> None:
    file = parse(text.encode(), "alerts.toml")
    assert file.rules == () and file.problems


@pytest.mark.parametrize("content", [b"\xff\xfe", b"a = [", b"x = '''\n" + b"[" * 5_000, b'a = "\x1b"', b"a." * 300])
def test_what_nobody_can_read_is_said_once(content: bytes) -> None:
    file = parse(content, "alerts.toml")
    assert len(file.problems) == 1 and not file.readable and file.rules == ()


def test_a_file_of_endless_rules_is_cut() -> None:
    text = "".join(f'[[rule]]\nname = "r{number}"\nsignal = "a"\nabove = 1\n' for number in range(MOST + 10))
    file = parse(text.encode(), "alerts.toml")
    assert len(file.rules) == MOST and "more than 500" in str(file.problems[0])


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "alerts.toml"
    path.write_bytes(b"#" * 300_000)
    assert "larger" in str(read(path).problems[0])


@given(st.binary(max_size=300))
def test_no_content_raises(content: bytes) -> None:
    parse(content, "alerts.toml")


def test_programs_do_not_see_the_secrets_that_the_file_names(tmp_path: Path) -> None:
    path = tmp_path / "alerts.toml"
    assert variables(path) == []
    path.write_text(SOUND)
    assert variables(path) == ["PD_KEY"]
    path.write_text("receiver = 3")
    assert variables(path) == []


def test_the_examples_of_the_page_are_sound() -> None:
    page = (ROOT / "docs/alerts.md").read_text("utf-8")
    examples = "\n".join(part.partition("```")[0] for part in page.split("```toml")[1:])
    file = parse(examples.encode(), "alerts.toml")
    assert file.problems == () and len(file.rules) == 6 and len(file.receivers) == 3
