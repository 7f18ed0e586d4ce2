"""The documentation: links, anchors, and the commands, settings and files that it names."""

import re
import shlex
import tomllib
from functools import cache
from pathlib import Path

import pytest

import heartmend
from heartmend.anatomy.load import load_anatomy
from heartmend.anatomy.schema import Anatomy, Structure
from heartmend.cli.commands import COMMANDS
from heartmend.cli.main import load_command
from heartmend.metrics.export import flat_tables
from heartmend.metrics.metric_catalogue import catalogue
from heartmend.pipelines.config import Config, load_config
from test_layers import LAYERS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
LINK = re.compile(r"!?\[(?:[^\]\[]|\[[^\]]*\])*\]\(\s*([^)\s]+)[^)]*\)")
FENCE = re.compile(r"^(```|~~~)(\w*)[^\n]*\n(.*?)^\1[ \t]*$", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"`+[^`]*`+")


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def prose_of(page: Path) -> str:
    """Return a page without its code blocks."""
    return FENCE.sub("", text_of(page))


@cache
def anchors_of(page: Path) -> frozenset[str]:
    """Return the anchors of a page's headings, as both the site and a repository viewer make them."""
    anchors: set[str] = set()
    for heading in re.findall(r"^#{1,6}[ \t]+(.+?)[ \t]*$", prose_of(page), re.MULTILINE):
        plain = LINK.sub(lambda m: m[0][m[0].index("[") + 1 : m[0].index("]")], heading).replace("`", "")
        slug = re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", plain).strip().lower())
        number, first = 0, slug
        while slug in anchors:
            number += 1
            slug = f"{first}_{number}"
        anchors.add(slug)
    return frozenset(anchors)


def broken_links(page: Path) -> list[str]:
    broken = []
    for link in LINK.findall(CODE.sub("", prose_of(page))):
        if re.match(r"[a-z]+:", link):
            if not link.startswith(("https://", "mailto:")):
                broken.append(f"{link}: not https")
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        if not target.is_relative_to(ROOT) or not target.exists():
            broken.append(f"{link}: no such file")
        elif anchor and target.suffix == ".md" and anchor not in anchors_of(target):
            broken.append(f"{link}: no such heading")
    return broken


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=name_of)
def test_every_link_has_a_target(page: Path) -> None:
    assert broken_links(page) == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = re.findall(r"[\w/-]+\.md", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(navigation) == sorted(p.relative_to(DOCS).as_posix() for p in DOCS.rglob("*.md"))


def test_every_package_has_an_api_page() -> None:
    source = ROOT / "src" / "heartmend"
    packages = {p.stem for p in source.iterdir() if not p.name.startswith("_") and (p.suffix == ".py" or p.is_dir())}
    packages.remove("version")
    assert {p.stem for p in (DOCS / "reference" / "api").glob("*.md")} - {"index"} == packages


def test_the_floors_are_those_of_the_layers() -> None:
    floors = re.findall(r"^\| \d+ \| (.*) \|$", text_of(DOCS / "concepts" / "architecture.md"), re.MULTILINE)
    assert [set(re.findall(r"`(\w+)`", floor)) for floor in reversed(floors)] == LAYERS


def command_lines(page: Path) -> list[list[str]]:
    """Return the words of each `heartmend ...` line in the code of a page."""
    text = text_of(page)
    blocks = "\n".join(m[3] for m in FENCE.finditer(text) if m[2] in ("", "bash", "sh", "toml"))
    lines = [line.strip().lstrip("# ") for line in blocks.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`(heartmend [^`]+)`", FENCE.sub("", text).replace("\n", " "))
    found = []
    for line in lines:
        match = re.search(r"(?:^|\s)heartmend (?=[a-z-])", line)
        # Text in a code block may begin with the name of the program; a command has a known word or an option next.
        if match:
            words = shlex.split(line[match.end() :], comments=True)
            found.append(words)
    return found


@cache
def options_of(command: str) -> frozenset[str]:
    known = {"--help", "-h"}
    for parameter in load_command(command).params:
        known |= {*parameter.opts, *parameter.secondary_opts}
    return frozenset(known)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_and_option_exists(page: Path) -> None:
    unknown = []
    for command, *words in command_lines(page):
        if command.startswith("-"):
            continue
        if command not in COMMANDS:
            unknown.append(command)
            continue
        options = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        unknown += [f"{command} {option}" for option in sorted(options - options_of(command))]
    assert [u for u in unknown if u != "COMMAND"] == []


def test_the_command_reference_is_that_of_the_commands() -> None:
    namespace: dict[str, object] = {"__file__": str(DOCS / "cli_reference.py"), "__name__": "cli_reference"}
    source = (DOCS / "cli_reference.py").read_text(encoding="utf-8")
    exec(compile(source, "cli_reference.py", "exec"), namespace)  # noqa: S102  a script of this repository
    assert namespace["page"]() == text_of(DOCS / "reference" / "cli.md"), "run `python docs/cli_reference.py`"  # type: ignore[operator]


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_benchmark_that_is_named_exists(page: Path) -> None:
    named = set(re.findall(r"(?<!tests/)benchmarks/\w+\.py", text_of(page)))
    assert {name for name in named if not (ROOT / name).is_file()} == set()


def toml_blocks(page: Path) -> list[str]:
    return [match[3] for match in FENCE.finditer(text_of(page)) if match[2] == "toml"]


def test_the_config_page_has_all_settings_with_their_defaults(tmp_path: Path) -> None:
    table = tomllib.loads(toml_blocks(DOCS / "reference" / "config.md")[0])
    defaults = Config().model_dump(mode="json")
    hidden = {"fit": {"phases", "epochs", "max_points"}, "unify": {"phases", "template_phases", "epochs"}}
    for stage, keys in hidden.items():
        defaults[stage] = {key: value for key, value in defaults[stage].items() if key not in keys}
    assert table == defaults


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_toml_example_is_valid(page: Path, tmp_path: Path) -> None:
    for text in toml_blocks(page):
        file = tmp_path / "example.toml"
        file.write_text(text, encoding="utf-8")
        if "[[structures]]" in text:
            load_anatomy(str(file))
        else:
            load_config("mend", file)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_option_of_a_benchmark_exists(page: Path) -> None:
    unknown = []
    for name, words in re.findall(r"(?<!tests/)(benchmarks/\w+\.py)([^\n`]*)", text_of(page)):
        source = text_of(ROOT / name) if (ROOT / name).is_file() else ""
        options = re.findall(r"(?<=\s)--[a-z][a-z-]*", words.partition("#")[0])
        unknown += [f"{name} {option}" for option in options if f'"{option}"' not in source]
    assert unknown == []


def test_every_promise_names_tests_that_exist() -> None:
    text = text_of(DOCS / "reference" / "errors-and-faults.md")
    section = text.partition("## Promises and their tests\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")][1:]
    cells = re.findall(r"^\| .+? \| (`tests/.*) \|$", section, re.MULTILINE)
    # The row of dashes below the heading starts without a blank.
    assert len(cells) == len(rows) > 30
    for named in re.findall(r"`(.*?)`", " ".join(cells)):
        path, _, test = named.partition("::")
        source = text_of(ROOT / path)
        assert f"def {test}(" in source if test else "def test_" in source, named


def test_the_metrics_page_has_every_column() -> None:
    page = text_of(DOCS / "reference" / "metrics.md")
    columns = {metric.key for metric in catalogue() if not metric.key.startswith("nsd_")}
    plain = {"structure", "metric", "unit", "labels", "n", "mean", "median", "difference", "p", "cases"}
    for table in flat_tables([], (), []):
        columns |= {column.name for column in table.columns if table.name != "cases"} - plain
    named = set(re.findall(r"`([a-z0-9_.]+)`", page))
    assert {c for c in columns if c.replace("cases_a", "cases_b") not in named} == set()


def test_the_anatomy_page_has_every_key() -> None:
    page = text_of(DOCS / "reference" / "anatomy-file.md")
    keys = {*Anatomy.model_fields, *Structure.model_fields}
    for rule in load_anatomy("heart").rules:
        keys |= {rule.rule, *type(rule).model_fields} - {"rule"}
    assert {key for key in keys if f"`{key}`" not in page} == set()


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_python_name_exists(page: Path) -> None:
    blocks = "\n".join(match[3] for match in FENCE.finditer(text_of(page)) if match[2] == "python")
    used = re.findall(r"\bhm\.(\w+)", blocks) + re.findall(r"`hm\.(\w+)", text_of(page))
    assert [name for name in used if not hasattr(heartmend, name)] == []
