"""MkDocs hook: links to files of the repository work on the built site; pairs of numbers in tables stay on one line.

In the repository such a link opens the file. On the site a link to a module of the package opens its entry in the API
reference, and a link to any other file opens a copy of it under `files/`.
"""

import re
from pathlib import Path
from posixpath import relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PACKAGE = ROOT / "src" / "heartmend"
LINK = re.compile(r"(?<=\]\()(\.\.?/[^)#\s]+)(?=[)#])")
TABLE_ROW = re.compile(r"^\|.*\|$", re.MULTILINE)
# The spaces of `0.969 > 0.989` and `71.45 ± 0.38`.
PAIR = re.compile(r"(?<=\d) (?=[>±/] \d)|(?<=\d [>±/]) (?=\d)")
SHOWN_AS_TEXT = {".py", ".toml", ".sbatch", ".sh", ".yaml", ".cff", ".ipynb", ".md", ""}


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links that leave docs/ to the API reference or to a copy of the file."""
    folder = (DOCS / page.file.src_uri).parent

    def on_site(match: re.Match[str]) -> str:
        target = (folder / match[0]).resolve()
        if target.is_relative_to(DOCS) or not target.is_relative_to(ROOT) or not target.exists():
            return match[0]
        if target.is_relative_to(PACKAGE) and (target.is_dir() or target.suffix == ".py"):
            parts = tuple(part.removesuffix(".py") for part in target.relative_to(PACKAGE).parts)
            parts = parts[:-1] if parts[-1:] == ("__init__",) else parts
            page_uri = f"reference/api/{parts[0] if parts else 'index'}.md"
            anchor = "#" + ".".join(("heartmend", *parts)) if parts else ""
            return relpath(page_uri, Path(page.file.src_uri).parent.as_posix()) + anchor
        return relpath(copy_of(target, config, files), Path(page.file.src_uri).parent.as_posix())

    return TABLE_ROW.sub(lambda row: PAIR.sub("&nbsp;", row[0]), LINK.sub(on_site, markdown))


def copy_of(target: Path, config: MkDocsConfig, files: Files) -> str:
    """Add a copy of a file of the repository, or the list of the files of a folder, and return its path on the site."""
    ending = ".txt" if target.suffix in SHOWN_AS_TEXT else ""
    uri = f"files/{target.relative_to(ROOT).as_posix()}{ending}"
    if files.get_file_from_path(uri) is None:
        if target.is_dir():
            found = sorted(p.relative_to(target).as_posix() for p in target.rglob("*") if is_source(p))
            content = "".join(f"{name}\n" for name in found).encode()
        else:
            content = target.read_bytes()
        files.append(File.generated(config, uri, content=content))
    return uri


def is_source(path: Path) -> bool:
    """Whether a path is a file of the source tree, not something built."""
    return path.is_file() and not any(part.startswith((".", "__pycache__")) for part in path.parts)
