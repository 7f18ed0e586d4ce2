"""Write docs/reference/cli.md from the commands themselves: `python docs/cli_reference.py`.

tests/test_docs.py compares the page with the commands.
"""

import inspect
import re
from pathlib import Path
from typing import Any

from heartmend.cli.commands import COMMANDS, GROUPS, RENAMED_COMMANDS, renamed_options
from heartmend.cli.help import OPTION_GROUPS
from heartmend.cli.main import load_command
from heartmend.cli.terminal import EXIT_CODES

PAGE = Path(__file__).parent / "reference" / "cli.md"
HEAD = """\
# Command line

```
heartmend COMMAND --help
```

This page is made from the help texts (`python docs/cli_reference.py`).

- `heartmend --version` prints the version.
- `--quiet` (`-q`) prints results and errors only, `--verbose` (`-v`) prints more messages; before or after the command.
- `heartmend --install-completion` installs completion for the current shell.
- A run also writes its messages to `OUT/run/heartmend.log`.
- Old names of commands and options are accepted for one version, with a note: {renamed_commands}; {renamed_options}.

## Exit codes

| code | meaning |
|---|---|
{exit_codes}
"""


def page() -> str:
    """Return the Markdown text of the page."""
    old_commands = ", ".join(f"`{old}` is `{new}`" for old, new in RENAMED_COMMANDS.items())
    old_options = ", ".join(f"`{old}` is `{new}`" for old, new in renamed_options("run").items())
    exit_codes = "\n".join(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES)
    parts = [HEAD.format(renamed_commands=old_commands, renamed_options=old_options, exit_codes=exit_codes)]
    for group in GROUPS:
        parts.append(f"## {group}\n")
        parts += [section(name) for name, entry in COMMANDS.items() if entry.group == group]
    return "\n".join(parts)


def section(name: str) -> str:
    """Return the section of one command."""
    command = load_command(name)
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden and p.name != "help"]
    options = [p for p in options if not {"--quiet", "--verbose"} & set(p.opts)]
    options.sort(key=lambda p: OPTION_GROUPS.index(p.rich_help_panel or "General"))
    words = [(p.metavar or p.name.upper(), p.required) for p in arguments]
    usage = " ".join([f"heartmend {name}", *(w if required else f"[{w}]" for w, required in words), "[OPTIONS]"])
    text = [f"### {name}", "", described(inspect.cleandoc(command.help or "")), "", f"    {usage}", ""]
    if arguments:
        text += ["| argument | meaning |", "|---|---|"]
        text += [f"| `{p.metavar or p.name.upper()}` | {cell(p.help)} |" for p in arguments]
        text += [""]
    text += ["| option | meaning | default |", "|---|---|---|"]
    text += [f"| {spelled(p)} | {cell(p.help)} | {default(p)} |" for p in options]
    if examples := inspect.cleandoc(command.epilog):
        text += ["", "```", examples, "```"]
    return "\n".join([*text, ""])


def described(help_text: str) -> str:
    """Return a help text without what typer adds, with options and paths as code."""
    text = help_text.replace("\b\n", "").split("\f")[0].strip()
    plain_and_code = text.split("`")
    plain_and_code[::2] = [
        re.sub(r"(?<![\w/])(--[a-z][a-z-]*|OUT/[\w./]*\w)", r"`\1`", plain) for plain in plain_and_code[::2]
    ]
    return "`".join(plain_and_code)


def spelled(option: Any) -> str:
    """Return an option as it is typed, with its metavar."""
    words = sorted(option.opts, key=len, reverse=True) + list(option.secondary_opts)
    value = "" if option.is_flag else " " + (option.metavar or option.type.name.upper())
    return ", ".join(f"`{word}{value if n == 0 else ''}`" for n, word in enumerate(words)).replace("|", "\\|")


def default(option: Any) -> str:
    """Return the default of an option as a cell of the table."""
    if option.required:
        return "required"
    if option.is_flag:
        return "on" if option.default is True else "off"
    return "" if option.default in (None, "", (), []) else f"`{option.default}`"


def cell(text: str | None) -> str:
    """Return a help text as a cell of a table."""
    return " ".join((text or "").replace("|", "\\|").split())


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
