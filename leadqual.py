"""The command `leadqual`: each package's own commands, and exit codes for their errors."""

import sys
from io import TextIOWrapper
from typing import Annotated

import typer

from features.commands import app as features_commands
from features.terminal import say
from serving.commands import app as serving_commands
from serving.store.commands import app as store_commands
from training.commands import app as training_commands

EXIT_CODES = {
    "ContractError": 2,
    "ConfigError": 2,
    "TooLittleHistory": 2,
    "UsageError": 2,
    "GateRefused": 3,
    "ArtifactError": 4,
    "RegistryError": 4,
    "DatabaseError": 5,
    "OutputError": 5,
    "OSError": 5,
    "MemoryError": 5,
}
"""Who can act: 2 who sends data, 3 who judges the model, 4 who deploys it, 5 who runs the disk."""

app = typer.Typer(
    name="leadqual",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: the rich one takes twice as long to come up
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for commands in (features_commands, training_commands, serving_commands, store_commands):
    app.add_typer(commands)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415  # --help needs it not

        typer.echo(f"leadqual {version('leadqual')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Learn which leads will close, score them, and flag those to hand off to sales."""


def main() -> None:
    """Run the command; a known error ends with its message on stderr and its exit code."""
    if isinstance(sys.stdout, TextIOWrapper):  # a terminal without Japanese gets escapes, no error
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="leadqual")
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        code = exit_code(error)
        if code is None:
            raise
        say(f"leadqual: {message(error)}")
        sys.exit(code)


def exit_code(error: BaseException) -> int | None:
    """Return the exit code of a known error by its class, None for a bug.

    >>> exit_code(FileNotFoundError()), exit_code(ZeroDivisionError())
    (5, None)
    """
    return next(
        (EXIT_CODES[kind.__name__] for kind in type(error).__mro__ if kind.__name__ in EXIT_CODES),
        None,
    )


def message(error: BaseException) -> str:
    """Return what an error says; what the system or Python raised says more of where and what next.

    >>> message(FileNotFoundError(2, "No such file or directory", "a/b"))
    'a/b cannot be used (No such file or directory): check the path, its permissions and the space'
    """
    if isinstance(error, OSError) and error.strerror:
        place, why = error.filename or "a file", error.strerror
        return f"{place} cannot be used ({why}): check the path, its permissions and the space"
    if isinstance(error, MemoryError):
        return f"the memory is too small ({error or 'no more to be had'}): ask for less at a time"
    return str(error)


if __name__ == "__main__":
    main()
