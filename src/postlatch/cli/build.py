"""From the catalogue to click commands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from postlatch import __version__
from postlatch.cli import output
from postlatch.cli.backend import Answer, Backend, CommandFailed
from postlatch.cli.catalogue import CATALOGUE, GROUPS, SECTIONS, Argument, Command, Kind, Way
from postlatch.cli.passwords import read_password
from postlatch.cli.values import type_of

_HELP = """Postlatch: the mail relay that latches shut, and proves it.

Exit status: 0 good; 1 bad news (refused, open, a danger in the configuration); 2 unusable input; 3 undecided."""


def build_cli(backend: Backend) -> click.Group:
    """The whole command line over ``backend``. Call it (or its ``main``) to run; it exits with the documented statuses."""
    root = _Root("postlatch", help=_HELP, params=[_config_option()], context_settings={"help_option_names": ["-h", "--help"]})
    click.version_option(__version__, prog_name="postlatch", message="%(prog)s %(version)s")(root)
    for name, text in GROUPS.items():
        words = name.split(".")
        _group_of(root, words).add_command(_Listed(words[-1], help=text, params=[_config_option()]))
    for command in CATALOGUE:
        leaf = _Leaf(command, backend)
        if any(other.name.startswith(f"{command.name}.") for other in CATALOGUE):
            _group_of(root, command.words).add_command(_Both(leaf))
        else:
            _group_of(root, command.words).add_command(leaf)
    return root


def _group_of(root: click.Group, words: list[str]) -> click.Group:
    """Where a command or group of these words stands."""
    group = root
    for word in words[:-1]:
        inner = group.commands[word]
        assert isinstance(inner, click.Group)
        group = inner
    return group


class _Listed(click.Group):
    """Commands in the catalogue's order, which is the order of use, not of the alphabet."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click's signature)
        return list(self.commands)


class _Root(_Listed):
    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 (click's signature)
        width = max(map(len, self.commands))
        for title, names in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(name.ljust(width), self.commands[name].get_short_help_str(100)) for name in names])


class _Both(_Listed):
    """A command that is a group too: ``audit TARGET`` and ``audit posture DOMAIN``.

    A first word that is no subcommand belongs to the command itself.
    """

    def __init__(self, leaf: _Leaf) -> None:
        super().__init__(leaf.name, help=leaf.help, params=[_config_option()])
        self.itself = leaf
        leaf.others = self.commands

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Of the subcommand that is named, or of the command itself."""
        if args and args[0] in self.commands:
            return super().make_context(info_name, args, parent, **extra)
        return self.itself.make_context(info_name, args, parent, **extra)


class _Leaf(click.Command):
    """One command of the catalogue."""

    def __init__(self, spec: Command, backend: Backend) -> None:
        params: list[click.Parameter] = [_parameter(argument) for argument in spec.arguments]
        if spec.password:
            text = "Read the password from standard input, not from the terminal."
            params.append(click.Option(["--password-stdin"], is_flag=True, help=text))
        if spec.way is not Way.RUN:
            params.append(click.Option(["--json", "as_json"], is_flag=True, help="Print JSON."))
        super().__init__(spec.words[-1], help=spec.help, params=[*params, _config_option()])
        self._spec = spec
        self._backend = backend
        self.others: Mapping[str, click.Command] = {}  # subcommands, if it has any

    def invoke(self, ctx: click.Context) -> None:
        """Carry the command out and exit with its status."""
        ctx.color = output.color_wish()
        arguments = self._arguments(ctx)
        config = _config(ctx)
        try:
            status = self._carry_out(arguments, config, as_json=bool(ctx.params.get("as_json")))
        except CommandFailed as failure:
            status = output.show(self._spec.name, failure.answer, as_json=bool(ctx.params.get("as_json")))
        ctx.exit(status)

    def _carry_out(self, arguments: dict[str, Any], config: Path | None, *, as_json: bool) -> int:
        name = self._spec.name
        if self._spec.way is Way.RUN:
            return self._backend.run(name, arguments, config)
        if self._spec.way is Way.STREAM or arguments.get("follow"):
            records = self._backend.stream(name, arguments, config)
            return output.show_stream(name, records, as_json=as_json or self._spec.way is Way.STREAM)
        answer: Answer = self._backend.call(name, arguments, config)
        return output.show(name, answer, as_json=as_json)

    def _arguments(self, ctx: click.Context) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for argument in self._spec.arguments:
            value = ctx.params[argument.name]
            if value is not None and value is not False and value != ():
                given[argument.name] = list(value) if argument.many else value
        if self._spec.selection and not given:
            raise click.UsageError("name IDs, or filter with --sender, --recipient, --domain, --state or --account", ctx)
        if self._spec.password:
            given["password"] = read_password(from_stdin=bool(ctx.params["password_stdin"]))
        return given

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """What stands without a flag is explained too, and examples follow."""
        positional = [(argument.metavar, argument.help) for argument in self._spec.arguments if not argument.flag]
        if positional:
            with formatter.section("Arguments"):
                formatter.write_dl(positional)
        super().format_options(ctx, formatter)
        if self.others:
            with formatter.section("Commands"):
                formatter.write_dl([(name, other.get_short_help_str(100)) for name, other in self.others.items()])
        if self._spec.examples:
            with formatter.section("Examples"):
                for example in self._spec.examples:
                    formatter.write("".join(f"  {line}\n" for line in example.split("\n")))


def _parameter(argument: Argument) -> click.Parameter:
    kind = type_of(argument)
    if not argument.flag:
        count = -1 if argument.many else 1
        return click.Argument([argument.name], type=kind, nargs=count, required=argument.required, metavar=argument.metavar)
    # A default of None would count as given, and a required option as satisfied.
    default: dict[str, Any] = {} if argument.default is None else {"default": argument.default, "show_default": True}
    return click.Option(
        [argument.flag, argument.name],
        type=kind,
        is_flag=argument.kind is Kind.FLAG,
        required=argument.required,
        multiple=argument.many,
        metavar=argument.metavar or None,
        help=argument.help,
        **default,
    )


def _config_option() -> click.Option:
    """Taken before and after the subcommand; the last one counts."""
    return click.Option(
        ["--config"],
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="The configuration. Default: $POSTLATCH_CONFIG, ./postlatch.toml, /etc/postlatch/postlatch.toml.",
    )


def _config(ctx: click.Context) -> Path | None:
    level: click.Context | None = ctx
    while level is not None:
        if (path := level.params.get("config")) is not None:
            assert isinstance(path, Path)
            return path
        level = level.parent
    return None
