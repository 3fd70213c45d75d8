"""Theme files: the shipped ones can be read by everyone, and no file, however broken, stops the app."""

from __future__ import annotations

import json
import math
import os
import tomllib
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.app import App, ComposeResult
from textual.color import Color
from textual.containers import Vertical
from textual.css.stylesheet import Stylesheet
from textual.theme import BUILTIN_THEMES, Theme
from textual.widgets import Button, Footer, Input, Label, Static, TextArea

from sophia_tui.theming import (
    DEFAULT_THEME,
    LAST_RESORT,
    OWN_VARIABLES,
    ThemeProblem,
    choose_theme,
    load_themes,
    resolved_variables,
    themes_dir,
    variable_defaults,
)

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(path.stem for path in themes_dir().glob("*.toml"))
IN_RGB = [name for name in SHIPPED if name != "ansi"]
DALTONIC = [name for name in SHIPPED if name.startswith("daltonic-")]
GOOD = 'primary = "#7ab8d6"\n'

BODY = (
    "foreground",
    "text",
    "sophia-user",
    "sophia-assistant",
    "sophia-quote",
    "sophia-link",
    "sophia-status",
    "sophia-weak",
    "text-success",
    "text-warning",
    "text-error",
    "text-primary",
    "text-secondary",
    "text-accent",
    *(f"markdown-h{n}-color" for n in range(1, 7)),
    *(f"sophia-level-{n}" for n in range(5)),
)
MUTED = ("text-muted", "foreground-muted", "sophia-reasoning")
SYNTAX = tuple(name for name in OWN_VARIABLES if name.startswith("syntax-"))
GROUNDS = ("background", "surface", "panel")
ON_FILLED = [
    ("block-cursor-foreground", "block-cursor-background"),
    ("block-cursor-blurred-foreground", "block-cursor-blurred-background"),
    ("input-selection-foreground", "input-selection-background"),
    ("foreground", "screen-selection-background"),
    ("input-cursor-foreground", "input-cursor-background"),
    ("footer-foreground", "footer-background"),
    ("footer-key-foreground", "footer-background"),
    ("footer-description-foreground", "footer-background"),
    *(("button-color-foreground", kind) for kind in ("primary", "success", "warning", "error")),
    *((f"text-{kind}", f"{kind}-muted") for kind in ("primary", "success", "warning", "error")),
]  # fmt: skip


@pytest.fixture(scope="module")
def shipped() -> dict[str, Theme]:
    themes, problems = load_themes(themes_dir(), None)
    assert problems == []
    return themes


def colour(variables: dict[str, str], name: str, ground: Color) -> Color:
    """What `variables[name]` looks like as paint on `ground`."""
    base, _, percentage = variables[name].partition(" ")
    alpha = float(percentage.rstrip("%")) / 100 if percentage else 1.0
    paint = ground.get_contrast_text(1.0) if base == "auto" else Color.parse(base)
    return ground.blend(paint.with_alpha(1.0), alpha * paint.a, alpha=1.0)


def linear(colour: Color) -> tuple[float, float, float]:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour.normalized
    )
    return red, green, blue


def luminance(colour: Color) -> float:
    red, green, blue = linear(colour)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: Color, other: Color) -> float:
    """WCAG 2 contrast ratio, 1 to 21."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def too_faint(variables: dict[str, str], names: tuple[str, ...], ground_name: str, least: float) -> Iterator[str]:
    ground = colour(variables, ground_name, Color.parse(variables["background"]))
    for name in names:
        ratio = contrast(colour(variables, name, ground), ground)
        if ratio < least:
            yield f"{name} on {ground_name}: {ratio:.2f} < {least}"


def test_enough_themes_for_every_reader(shipped: dict[str, Theme]) -> None:
    assert len(shipped) >= 12 and DEFAULT_THEME in shipped
    assert len([theme for theme in shipped.values() if not theme.dark]) >= 2
    assert {"high-contrast", "daltonic-dark", "ansi"} <= set(shipped)
    assert all(name == theme.name for name, theme in shipped.items())


@pytest.mark.parametrize("name", IN_RGB)
def test_text_can_be_read_on_every_ground(shipped: dict[str, Theme], name: str) -> None:
    variables = resolved_variables(shipped[name])
    body = faint = 7.0 if name == "high-contrast" else 4.5
    failures = [line for ground in GROUNDS for line in too_faint(variables, BODY, ground, body)]
    failures += [line for ground in GROUNDS for line in too_faint(variables, MUTED, ground, faint)]
    failures += too_faint(variables, ("syntax-text",), "sophia-code-background", body)
    failures += too_faint(variables, SYNTAX, "sophia-code-background", faint)
    failures += [line for text, ground in ON_FILLED for line in too_faint(variables, (text,), ground, body)]
    assert failures == []


DEFICIENCIES = {  # Machado, Oliveira and Fernandes 2009, full severity, on linear RGB
    "protanopia": ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),
    "deuteranopia": ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.011820, 0.042940, 0.968881)),
}


def lab(rgb: tuple[float, float, float]) -> tuple[float, float, float]:
    """CIE L*a*b* (D65) of a linear RGB colour."""
    to_xyz = ((0.4124564, 0.3575761, 0.1804375), (0.2126729, 0.7151522, 0.0721750), (0.0193339, 0.1191920, 0.9503041))
    white = (0.95047, 1.0, 1.08883)
    x, y, z = (
        part ** (1 / 3) if part > 0.008856 else 7.787 * part + 16 / 116
        for part in (value / whole for value, whole in zip(times(to_xyz, rgb), white, strict=True))
    )
    return 116 * y - 16, 500 * (x - y), 200 * (y - z)


def times(matrix: tuple[tuple[float, float, float], ...], vector: tuple[float, float, float]) -> list[float]:
    return [sum(factor * part for factor, part in zip(row, vector, strict=True)) for row in matrix]


def distance_for(deficiency: str, one: Color, other: Color) -> float:
    """CIE76 difference between two colours as a reader with `deficiency` sees them; about 2 can just be told apart."""

    def seen(paint: Color) -> tuple[float, float, float]:
        red, green, blue = (min(max(part, 0.0), 1.0) for part in times(DEFICIENCIES[deficiency], linear(paint)))
        return lab((red, green, blue))

    return math.dist(seen(one), seen(other))


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
@pytest.mark.parametrize("name", DALTONIC)
def test_colour_blind_readers_tell_the_meanings_apart(shipped: dict[str, Theme], name: str, deficiency: str) -> None:
    variables = resolved_variables(shipped[name])
    for prefix, least in (("", 25.0), ("text-", 20.0)):
        for one, other in combinations(("success", "warning", "error"), 2):
            paints = [Color.parse(variables[prefix + meaning]) for meaning in (one, other)]
            assert distance_for(deficiency, *paints) >= least, f"{prefix}{one} and {prefix}{other}"
    for level, worse in combinations(range(5), 2):
        paints = [Color.parse(variables[f"sophia-level-{number}"]) for number in (level, worse)]
        assert distance_for(deficiency, *paints) >= 15.0, f"levels {level} and {worse}"


def test_the_measures_are_right() -> None:
    black, white = Color.parse("#000000"), Color.parse("#ffffff")
    assert contrast(black, white) == pytest.approx(21.0)
    assert contrast(Color.parse("#777777"), white) == pytest.approx(4.478, abs=0.01)
    assert lab((1.0, 1.0, 1.0)) == pytest.approx((100.0, 0.0, 0.0), abs=0.1)
    assert lab(linear(Color.parse("#ff0000"))) == pytest.approx((53.2, 80.1, 67.2), abs=0.2)
    red, olive = Color.parse("#a04020"), Color.parse("#6a6020")
    assert distance_for("protanopia", red, olive) < 20 < distance_for("protanopia", red, white)


def test_ansi_uses_only_the_terminals_palette(shipped: dict[str, Theme]) -> None:
    assert shipped["ansi"].ansi
    assert [value for value in resolved_variables(shipped["ansi"]).values() if "#" in value or "rgb" in value] == []


class Sample(App[None]):
    """A screen with the kinds of widget the real app has."""

    BINDINGS = [("f1", "help", "Help")]  # noqa: RUF012
    CSS = """
    #quote { color: $sophia-quote; background: $sophia-code-background; }
    #level { color: $sophia-level-4; border: tall $border; }
    """

    def __init__(self, theme: Theme) -> None:
        self.wanted = theme
        super().__init__()
        self.register_theme(theme)
        self.theme = theme.name

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return variable_defaults(self.wanted)

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Label("Wisdom")
            yield Static("quoted", id="quote")
            yield Static("offline", id="level")
            yield Input(placeholder="Ask")
            yield TextArea("print(1)", language=None)
            yield Button("Send", variant="primary")
        yield Footer()


@pytest.mark.parametrize("name", SHIPPED)
async def test_the_app_paints_text_in_every_theme(shipped: dict[str, Theme], name: str) -> None:
    app = Sample(shipped[name])
    async with app.run_test(size=(60, 24)) as pilot:
        await pilot.press("tab", "a", "tab")
        await pilot.pause()
        picture = app.export_screenshot()
    assert all(word in picture for word in ("Wisdom", "quoted", "offline", "Send"))
    if name != "ansi":
        assert str(shipped[name].background).lower() in picture.lower()


def test_no_theme_leaves_a_variable_undefined() -> None:
    plain = Theme("plain", primary="#808080")
    for theme in (*BUILTIN_THEMES.values(), plain, Theme("ansi", primary="ansi_blue", ansi=True)):
        defaults = variable_defaults(theme)
        assert all(Color.parse(defaults[name]).a == 1 for name in OWN_VARIABLES)
        assert set(resolved_variables(plain)) <= set(resolved_variables(theme))


def test_every_variable_is_documented() -> None:
    page = (ROOT / "docs" / "themes.md").read_text(encoding="utf-8")
    assert [name for name in OWN_VARIABLES if f"`{name}`" not in page] == []
    assert [name for name in SHIPPED if f"`{name}`" not in page] == []


def write(folder: Path, name: str, content: str | bytes) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def only_problem(folder: Path) -> ThemeProblem:
    themes, problems = load_themes(themes_dir(), folder)
    assert sorted(themes) == SHIPPED
    assert len(problems) == 1
    return problems[0]


BAD_FILES: list[tuple[str, str | bytes, int | None, str, str]] = [
    ("no equals", GOOD + "\nsecondary\n", 3, "broken TOML", "key = value"),
    ("colour without quotes", "primary = #fff\n", 1, "broken TOML", "in quotes"),
    ("unfinished string", GOOD + 'accent = "', 2, "broken TOML", "in quotes"),
    ("unclosed list", GOOD + "accent = [\n\n", 2, "broken TOML", "key = value"),
    ("set twice", GOOD + GOOD, 2, "broken TOML", "key = value"),
    ("nested without end", GOOD + "accent = [\n" + "[\n" * 20_000, None, "broken TOML", "Keep only"),
    ("number without end", "dark = " + "9\\\n" * 9, 1, "broken TOML", "key = value"),
    ("long line", GOOD + "a" + ".a" * 20_000 + " = 1\n", 2, "a line of 40005 characters", "Keep only"),
    ("too large", GOOD + "# filler\n" * 8000, None, "larger than 64 KiB", "Keep only"),
    ("not UTF-8", b'# one\n# caf\xe9\nprimary = "#fff"\n', 2, "not UTF-8", "Save it as UTF-8"),
    ("binary", bytes(range(256)), 2, "not UTF-8", "Save it as UTF-8"),
    ("nothing", "", None, "'primary' is missing", "Add a line"),
    ("no such colour", GOOD + 'accent = "#12345"\n', 2, "accent is '#12345', which is no colour", "#7ab8d6"),
    ("no such name", GOOD + 'accent = "lihgt blue"\n', 2, "which is no colour", "#7ab8d6"),
    ("colour is a number", "primary = 5\n", 1, "primary is 5, which is no text", "in quotes"),
    ("colour is a table", "primary" + ".a" * 400 + " = 1\n[primary.b" + ".c" * 400 + "]", 1, "is a table", "in quotes"),
    ("misspelt key", GOOD + 'acent = "#fff"\n', 2, "unknown key 'acent'", "Did you mean 'accent'?"),
    ("unheard-of key", GOOD + "zzzzqqq = 1\n", 2, "unknown key 'zzzzqqq'", "docs/themes.md"),
    ("unknown table", GOOD + "[colours]\nred = 1\n", 2, "unknown key 'colours'", ""),
    ("variable at the top", GOOD + 'border = "#fff"\n', 2, "unknown key 'border'", "below the line [variables]"),
    ("key among variables", GOOD + "[variables]\ndark = true\n", 3, "unknown variable 'dark'", "above the line"),
    ("misspelt variable", GOOD + '[variables]\nsyntax-strng = "#fff"\n', 3, "'syntax-strng'", "'syntax-string'?"),
    ("bad variable", GOOD + '[variables]\n# text = 1\nprimary = "grue"\n', 4, "primary is 'grue'", "#7ab8d6"),
    ("bad dotted variable", GOOD + 'variables.border = "grue"\n', 2, "border is 'grue'", "#7ab8d6"),
    ("variable is a flag", GOOD + "[variables]\nborder = true\n", 3, "border is True, which is no text", "in quotes"),
    ("auto as a ground", GOOD + '[variables]\nfooter-background = "auto 50%"\n', 3, "no colour", "#7ab8d6"),
    ("reference", GOOD + '[variables]\nborder = "$primary"\n', 3, "no colour", "#7ab8d6"),
    ("style sheet inside", GOOD + '[variables]\nborder = "red; } Screen { display: none"\n', 3, "no colour", "#7ab8d6"),
    ("see-through", GOOD + '[variables]\nsyntax-text = "#ffffff80"\n', 3, "see-through", "without alpha"),
    ("clashing alpha", GOOD + '[variables]\nprimary-lighten-1 = "red 5%"\n', None, "do not work together", "#7ab8d6"),
    ("no such style", GOOD + '[variables]\nlink-style = "bolt"\n', 3, "no text style", "bold"),
    ("unfinished style", GOOD + '[variables]\nlink-style = "bold not"\n', 3, "no text style", "bold"),
    ("variables is no table", GOOD + "variables = 3\n", 2, "variables is not a table", "[variables]"),
    ("dark is text", GOOD + 'dark = "yes"\n', 2, "dark is 'yes'", "dark = true"),
    ("spread is no number", GOOD + "luminosity_spread = nan\n", 2, "luminosity_spread is nan", "from 0 to 1"),
    ("alpha is a flag", GOOD + "text_alpha = true\n", 2, "text_alpha is True", "from 0 to 1"),
    ("unsafe name", GOOD + 'name = "../Evil [red]"\n', 2, "cannot be a theme's name", "small letters"),
    ("palette without ansi", 'primary = "ansi_blue"\n', 1, "terminal's own palette", "ansi = true"),
    ("three mistakes", "dark = 1\nansi = 1\nfoo = 1\n", 1, "dark is 1 (and 2 more mistakes)", "dark = true"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "line", "message", "fix"), [pytest.param(*bad[1:], id=bad[0]) for bad in BAD_FILES]
)
def test_a_bad_file_is_one_problem_and_no_more(
    tmp_path: Path, content: str | bytes, line: int | None, message: str, fix: str
) -> None:
    path = write(tmp_path, "mine.toml", content)
    problem = only_problem(tmp_path)
    assert (problem.file, problem.line) == (path, line)
    assert message in problem.message and fix in problem.fix
    assert str(problem).startswith(f"{path}:{line}: " if line else f"{path}: ")
    assert len(problem.message) < 200 and problem.message.isprintable()


def test_a_file_name_that_is_no_theme_name(tmp_path: Path) -> None:
    write(tmp_path, "My Theme.toml", GOOD)
    assert "'My Theme' cannot be a theme's name" in only_problem(tmp_path).message
    write(tmp_path, "My Theme.toml", GOOD + 'name = "my-theme"\n')
    assert "my-theme" in load_themes(themes_dir(), tmp_path)[0]


def test_two_files_with_one_name(tmp_path: Path) -> None:
    write(tmp_path, "a.toml", 'name = "mine"\nprimary = "#111111"\n')
    write(tmp_path, "b.toml", 'name = "mine"\nprimary = "#222222"\n')
    themes, [problem] = load_themes(themes_dir(), tmp_path)
    assert problem.file.name == "b.toml" and "taken by 'a.toml'" in problem.message
    assert themes["mine"].primary == "#111111"


def test_the_users_theme_wins(tmp_path: Path) -> None:
    write(tmp_path, f"{DEFAULT_THEME}.toml", 'primary = "RED"\nbackground = "#123"\n'.replace("RED", "rgb(255, 0, 0)"))
    themes, problems = load_themes(themes_dir(), tmp_path)
    assert problems == []
    assert (themes[DEFAULT_THEME].primary, themes[DEFAULT_THEME].background) == ("#FF0000", "#112233")


def test_a_broken_override_leaves_the_shipped_theme(tmp_path: Path, shipped: dict[str, Theme]) -> None:
    write(tmp_path, f"{DEFAULT_THEME}.toml", "primary = [\n")
    assert only_problem(tmp_path).line == 1
    assert load_themes(themes_dir(), tmp_path)[0][DEFAULT_THEME] == shipped[DEFAULT_THEME]


def test_what_is_no_theme_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    os.mkfifo(tmp_path / "pipe.toml")
    write(tmp_path, ".hidden.toml", "broken")
    write(tmp_path, "notes.txt", "broken")
    themes, problems = load_themes(themes_dir(), tmp_path)
    assert (sorted(themes), problems) == (SHIPPED, [])


def test_links_to_files_are_read_and_dangling_ones_named(tmp_path: Path) -> None:
    themes_home = tmp_path / "themes"
    target = write(tmp_path, "elsewhere", "\ufeff" + GOOD)
    themes_home.mkdir()
    (themes_home / "linked.toml").symlink_to(target)
    (themes_home / "dangling.toml").symlink_to(tmp_path / "nowhere")
    themes, [problem] = load_themes(themes_dir(), themes_home)
    assert "linked" in themes
    assert problem.file.name == "dangling.toml" and "No such file" in problem.message


def test_missing_and_unusable_folders(tmp_path: Path) -> None:
    assert load_themes(themes_dir(), tmp_path / "none")[1] == []
    not_a_folder = write(tmp_path, "file", "")
    assert only_problem(not_a_folder).message == "the theme folder cannot be read (Not a directory)"
    themes, [problem] = load_themes(tmp_path / "none", None)
    assert themes == {} and problem.file == tmp_path / "none"


def test_choosing_a_theme(shipped: dict[str, Theme]) -> None:
    assert choose_theme(shipped, "paper") == ("paper", None)
    name, notice = choose_theme(shipped, "papier")
    assert name == DEFAULT_THEME and notice is not None and "'papier'" in notice and "paper" in notice
    assert choose_theme({}, "paper")[0] == LAST_RESORT in BUILTIN_THEMES


def test_loading_everything_is_written_in_one_canonical_form(tmp_path: Path) -> None:
    write(
        tmp_path, "mine.toml", 'primary = "red"\n[variables]\nborder = "hsl(120, 100%, 50%) 7.50%"\ntext = "auto 80%"\n'
    )
    theme = load_themes(themes_dir(), tmp_path)[0]["mine"]
    assert theme.variables == {"border": "#00FF00 7.5%", "text": "auto 80%"}


def check_load(folder: Path, content: bytes) -> Theme | None:
    """The theme in `content`, or None after checking that there is exactly one usable problem."""
    path = write(folder, "mine.toml", content)
    themes, problems = load_themes(folder, None)
    assert len(themes) + len(problems) == 1
    for problem in problems:
        assert problem.file == path and problem.fix and problem.message.isprintable()
        assert problem.line is None or 1 <= problem.line <= content.count(b"\n") + 1
    return next(iter(themes.values()), None)


def assert_paintable(theme: Theme) -> None:
    """Textual can parse every variable of `theme` wherever a style sheet may use it."""
    variables = resolved_variables(theme)
    rules = ["text-style" if name.endswith("style") or "-style-" in name else "color" for name in variables]
    css = [f"{rule}: ${name};" for rule, name in zip(rules, variables, strict=True)
           if variables[name] != "initial"]  # fmt: skip
    sheet = Stylesheet(variables=variables)
    sheet.add_source("Widget { " + "\n".join(css) + " }")
    sheet.parse()
    assert all(Color.parse(variables[name]).a == 1 for name in OWN_VARIABLES)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


@settings(max_examples=150, deadline=None)
@given(content=st.binary(max_size=400) | st.text(max_size=200).map(str.encode))
def test_arbitrary_bytes_never_raise(scratch: Path, content: bytes) -> None:
    check_load(scratch, content)


FIELDS = ["name", "primary", "secondary", "background", "foreground", "panel", "boost", "dark", "ansi", "text_alpha"]
VARIABLES = sorted(resolved_variables(Theme("any", primary="#808080")))
PAINT = st.sampled_from(["#fff", "#12345678", "red", "transparent", "ansi_red", "ansi_default", "rgb(1,2,300)",
                         "hsl(10,200%,50%)", "hsla(1,2%,3%,4)", "auto", "auto 40%", "initial", "#fff 35%", "red 200%",
                         "bold", "not bold", "bold not underline", "none", "not", "#ggg", "$primary", ""])  # fmt: skip
SCALAR = PAINT | st.text(max_size=8) | st.booleans() | st.integers() | st.floats()
TABLES = st.fixed_dictionaries(
    {"primary": st.sampled_from(["#7ab8d6", "ansi_blue", "hsl(10,200%,50%)"]) | SCALAR},
    optional={
        **{field: SCALAR for field in FIELDS if field != "primary"},
        "luminosity_spread": st.floats(),
        "ansi": st.just(True),
        "variables": st.dictionaries(st.sampled_from(VARIABLES) | st.text(max_size=8), PAINT | SCALAR, max_size=4),
        "other": st.dictionaries(st.text(max_size=4), SCALAR, max_size=2),
    },
)
LIKELY_TABLES = st.fixed_dictionaries(
    {"primary": st.sampled_from(["#7ab8d6", "#fff0", "hsl(10,200%,50%)"])},
    optional={
        "background": st.sampled_from(["#000", "#ffffff80", "transparent"]),
        "luminosity_spread": st.floats(0, 1),
        "variables": st.dictionaries(st.sampled_from(VARIABLES), PAINT, max_size=2),
    },
)


def as_toml(table: dict[str, object]) -> str:
    """`table` as TOML: JSON's scalars and quoting are TOML's too, but for DEL."""
    plain = [f"{quoted(key)} = {quoted(value)}" for key, value in table.items() if not isinstance(value, dict)]
    for key, value in table.items():
        if isinstance(value, dict):
            plain += [f"[{quoted(key)}]", *(f"{quoted(name)} = {quoted(setting)}" for name, setting in value.items())]
    return "\n".join(plain) + "\n"


def quoted(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return text.replace("NaN", "nan").replace("Infinity", "inf") if isinstance(value, float) else text


@settings(max_examples=150, deadline=None)
@given(table=TABLES | LIKELY_TABLES)
def test_arbitrary_tables_give_a_paintable_theme_or_a_problem(scratch: Path, table: dict[str, object]) -> None:
    text = as_toml(table)
    tomllib.loads(text)
    theme = check_load(scratch, text.encode())
    if theme is not None:
        assert_paintable(theme)
