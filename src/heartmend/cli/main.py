"""Program `heartmend`: its commands are imported when they are used."""

from __future__ import annotations

import logging
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from heartmend.cli.commands import COMMANDS, GROUPS, RENAMED_COMMANDS, renamed_options
from heartmend.cli.help import command_help, heading, help_width, option_row, paragraphs, two_columns
from heartmend.cli.signals import orderly_exit
from heartmend.cli.terminal import EXIT_CODES, configure_logging, print_message, report_errors, set_verbosity
from heartmend.version import __version__

SUMMARY = "Heartmend repairs the label maps of a data set of hearts with neural implicit shapes."
EXAMPLES = """\
heartmend check labels/                        check the files of the data set
heartmend run labels/ -o out/                  repair it
heartmend run labels/ -o out/ --images cts/    repair it with the CT images
heartmend review out/                          accept or reject the changes
heartmend export out/ -o dataset/              write the reviewed data set"""


class _Command(TyperCommand):
    """A command with grouped help, its old option names, and errors as one line."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        renamed = renamed_options(str(self.name))
        words, options = list(args), True
        for n, word in enumerate(words):
            options = options and word != "--"
            old, equals, value = word.partition("=")
            if options and old in renamed:
                words[n] = f"{renamed[old]}{equals}{value}"
                _note_new_name(ctx, old, renamed[old])
        return super().parse_args(ctx, words)

    def invoke(self, ctx: Any) -> Any:
        with report_errors(COMMANDS[str(self.name)].continues):
            return super().invoke(ctx)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        formatter.write(command_help(self, ctx))

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        return [piece.strip("{}") for piece in super().collect_usage_pieces(ctx)]


class _Commands(TyperGroup):
    """The commands of the static table, each imported when it is used."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if (name := RENAMED_COMMANDS.get(cmd_name)) is not None:
            _note_new_name(ctx, f"heartmend {cmd_name}", f"heartmend {name}")
        name = name or cmd_name
        return load_command(name) if name in COMMANDS else None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        set_verbosity(logging.WARNING)
        configure_logging()
        if not ctx.resilient_parsing:
            self._answer_at_once(ctx, args)
        for param in self.get_params(ctx):
            # typer converts other values than booleans with pydantic; its own options have None.
            param.default = bool(param.default)
        return super().parse_args(ctx, args)

    def _answer_at_once(self, ctx: Any, args: list[str]) -> None:
        """Print the help without arguments, and an error for an unknown command: typer imports pydantic to go on."""
        if not args:
            typer.echo(ctx.get_help())
            ctx.exit()
        # All options of the program are flags, so the first other word is the command.
        name = next((word for word in args if not word.startswith("-")), None)
        if (
            name is None
            or name in COMMANDS
            or name in RENAMED_COMMANDS
            or {"--help", "-h", "--version", "-V"} & {*args}
        ):
            return
        near = get_close_matches(name, [*COMMANDS, *RENAMED_COMMANDS], n=1, cutoff=0.5)
        nearest = RENAMED_COMMANDS.get(near[0], near[0]) if near else ""
        ctx.fail(f"No such command {name!r}." + (f" Did you mean {nearest!r}?" if nearest else ""))

    def format_help(self, ctx: Any, formatter: Any) -> None:
        width = help_width()
        first = max(map(len, COMMANDS))
        parts = [paragraphs(SUMMARY, width), f"{heading('Usage:')} {ctx.command_path} [OPTIONS] COMMAND ..."]
        for group in GROUPS:
            rows = [(name, entry.summary) for name, entry in COMMANDS.items() if entry.group == group]
            parts.append(f"{heading(f'{group}:')}\n{two_columns(rows, width, first)}")
        options = [option_row(param) for param in self.get_params(ctx)]
        parts.append(f"{heading('Options:')}\n{two_columns(options, width)}")
        parts.append(f"{heading('Examples:')}\n" + "\n".join(f"  {line}" for line in EXAMPLES.splitlines()))
        parts.append(f"{heading('Exit codes:')}\n{two_columns(EXIT_CODES, width)}")
        parts.append(f"The options of a command: {ctx.command_path} COMMAND --help")
        formatter.write("\n\n".join(parts) + "\n")


def _note_new_name(ctx: Any, old: str, new: str) -> None:
    if not ctx.resilient_parsing:
        print_message("note", f"{old} is now called {new}; the old name will be removed in the next version")


@cache
def load_command(name: str) -> Any:
    """Import a command.

    Args:
        name: a name of `COMMANDS`.

    Returns:
        The command as typer builds it from the function of this name in `heartmend.cli`.
    """
    module = import_module(f"heartmend.cli.{'import_' if name == 'import' else name}")
    command = _built(getattr(module, module.__name__.rpartition(".")[2]), name, module.EXAMPLES)
    command.params += _built(_general, name, "").params
    return command


def _built(function: Any, name: str, examples: str) -> Any:
    single = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    single.command(name, cls=_Command, epilog=examples)(function)
    return typer.main.get_command(single)


def _set_quiet(value: bool) -> None:
    if value:
        set_verbosity(logging.ERROR)


def _set_verbose(value: bool) -> None:
    if value:
        set_verbosity(logging.INFO)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"heartmend {__version__}")
        raise typer.Exit


Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", callback=_set_quiet, expose_value=False, help="Print results and errors only.")
]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", callback=_set_verbose, expose_value=False, help="Print more messages.")
]


def _general(quiet: Quiet = False, verbose: Verbose = False) -> None:
    """Options that every command has."""


app = typer.Typer(
    name="heartmend", cls=_Commands, rich_markup_mode=None, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["--help", "-h"]},
)  # fmt: skip


@app.callback(invoke_without_command=True)
def _program(
    context: typer.Context, quiet: Quiet = False, verbose: Verbose = False,
    version: Annotated[
        bool, typer.Option("--version", "-V", callback=_print_version, is_eager=True, expose_value=False,
                           help="Print the version."),
    ] = False,
) -> None:  # fmt: skip
    """Print the help if no command is given."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def main() -> None:
    """Run the program with the arguments of the command line."""
    with orderly_exit():
        app(prog_name="heartmend")
