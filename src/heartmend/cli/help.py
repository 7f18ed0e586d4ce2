"""Help texts: options in groups, examples at the end, plain text that fits the terminal."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Iterable
from typing import Any

import typer

MAX_WIDTH = 100
MAX_NAME_WIDTH = 30
OPTION_GROUPS = ("Arguments", "Input", "Settings", "Output", "Computation", "General")
_NO_DEFAULT = (None, False, "", ())


def help_width() -> int:
    """Return the number of columns of a help text: those of the terminal, at most `MAX_WIDTH`.

    Returns:
        The number of columns.
    """
    return max(min(shutil.get_terminal_size().columns, MAX_WIDTH), 40)


def heading(text: str) -> str:
    """Format a heading in bold; `typer.echo` removes the codes where the output is no terminal.

    Args:
        text: title of the section.

    Returns:
        The text with the codes of a terminal; unchanged with NO_COLOR.
    """
    return text if os.environ.get("NO_COLOR") else typer.style(text, bold=True)


def paragraphs(text: str, width: int) -> str:
    """Wrap every paragraph of a docstring; lines that are indented stay as they are.

    Args:
        text: paragraphs with an empty line between them.
        width: columns of a line.

    Returns:
        The wrapped paragraphs with an empty line between them.

    Example:
        >>> print(paragraphs("One line.", 40))
        One line.
    """
    blocks = [block for block in text.strip().split("\n\n") if block.strip()]
    return "\n\n".join(block if block.startswith(" ") else textwrap.fill(block, width) for block in blocks)


def two_columns(rows: Iterable[tuple[str, str]], width: int, first: int | None = None) -> str:
    """Format names with their descriptions, indented by two columns.

    Args:
        rows: name and description of each row.
        width: columns of a line.
        first: columns of the names; by default those of the longest name, at most `MAX_NAME_WIDTH`. A longer name
            has its description on the next line.

    Returns:
        One line or more for each row.

    Example:
        >>> print(two_columns([("run", "Repair label maps."), ("fit", "Fit shapes.")], 60))
          run  Repair label maps.
          fit  Fit shapes.
    """
    rows = list(rows)
    first = first or min(max((len(name) for name, _ in rows), default=0), MAX_NAME_WIDTH)
    lines = []
    for name, description in rows:
        wrapped = textwrap.wrap(description, max(width - first - 4, 20)) or [""]
        if len(name) > first:
            lines.append(f"  {name}")
        else:
            lines.append(f"  {name:<{first}}  {wrapped.pop(0)}".rstrip())
        lines += [f"{'':{first + 4}}{line}" for line in wrapped]
    return "\n".join(lines)


def option_row(param: Any) -> tuple[str, str]:
    """Format one option or argument: its names, and its description with default or requirement.

    Args:
        param: parameter of a typer command.

    Returns:
        Names and description.
    """
    about = (param.help or "").strip()
    notes = []
    if param.param_type_name == "argument":
        name = param.metavar or param.name.upper()
        if not param.required:
            notes.append("optional")
    else:
        short = [o for o in param.opts if not o.startswith("--")]
        long = [o for o in param.opts if o.startswith("--")]
        name = ", ".join([*short, *long])
        name = name if short else f"    {name}"
        name = " / ".join([name, *param.secondary_opts])
        if not param.is_flag:
            name = f"{name} {param.metavar or 'VALUE'}"
        if param.required:
            notes.append("required")
    if not param.required and param.default not in _NO_DEFAULT and not param.is_eager and param.show_default:
        # A flag with two names: the name of the default.
        pair = getattr(param, "secondary_opts", ())
        default = (param.opts if param.default else pair)[0].lstrip("-") if pair else param.default
        notes.append(f"default: {default}")
    if param.envvar:
        notes.append(f"environment variable: {param.envvar}")
    # Non-breaking spaces: a note stays on one line.
    return name, f"{about} [{'; '.join(notes)}]".replace(": ", ":\N{NO-BREAK SPACE}") if notes else about


def usage(command_path: str, params: Iterable[Any]) -> str:
    """Return the usage line of a command.

    Args:
        command_path: program and command, such as "heartmend run".
        params: parameters of the command.

    Returns:
        Such as "heartmend explain [OPTIONS] OUT [CASE]".
    """
    arguments = [p for p in params if p.param_type_name == "argument"]
    names = [(p.metavar or p.name.upper(), p.required) for p in arguments]
    return " ".join([command_path, "[OPTIONS]", *(name if required else f"[{name}]" for name, required in names)])


def command_help(command: Any, ctx: Any) -> str:
    """Return the help of one command: usage, description, options in groups, examples.

    Args:
        command: typer command; its epilog contains the examples.
        ctx: context of the command.

    Returns:
        Text of at most `help_width` columns.
    """
    width = help_width()
    params = [p for p in command.get_params(ctx) if not getattr(p, "hidden", False)]
    groups: dict[str, list[tuple[str, str]]] = {name: [] for name in OPTION_GROUPS}
    for param in params:
        default = "Arguments" if param.param_type_name == "argument" else "General"
        groups[getattr(param, "rich_help_panel", None) or default].append(option_row(param))
    parts = [paragraphs(command.help, width), f"{heading('Usage:')} {usage(ctx.command_path, params)}"]
    rows = [row for group in groups.values() for row in group]
    first = min(max(len(name) for name, _ in rows), MAX_NAME_WIDTH)
    parts += [f"{heading(f'{name}:')}\n{two_columns(group, width, first)}" for name, group in groups.items() if group]
    if command.epilog:
        examples = "\n".join(f"  {line}" for line in command.epilog.strip().splitlines())
        parts.append(f"{heading('Examples:')}\n{examples}")
    return "\n\n".join(parts) + "\n"
