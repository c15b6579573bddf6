"""The command line: `./farwatch COMMAND`.

Every command imports what it needs when it runs, so that `status` answers in a blink.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from infra.local.home import DEFAULT_PORT_BASE, Home, State

if TYPE_CHECKING:
    from collections.abc import Callable

_PASS_ON = {"ignore_unknown_options": True, "help_option_names": []}
_data = click.option(
    "--data", metavar="DIR", help="Data folder [default: FARWATCH_HOME, else .farwatch in the checkout]."
)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name=None, version="0.1.0", prog_name="farwatch")
def main() -> None:
    """Farwatch watches machines and tells the right people, once, what is wrong and why."""


@main.command()
@_data
@click.option(
    "--port-base",
    type=click.IntRange(1024, 65000),
    help="First of four ports [default: the last used, else 8501].",
)
@click.option("--demo", is_flag=True, help="Add a simulated fleet of 20 hosts with days of history.")
@click.option("--detach", is_flag=True, help="Return once everything is ready, and leave it running.")
def up(data: str | None, port_base: int | None, demo: bool, detach: bool) -> None:
    """Start everything on this machine and say where it is."""
    home = Home.find(data)
    base = port_base or State.load(home).port_base or DEFAULT_PORT_BASE
    from infra.local import start

    sys.exit(start.detached(home, base, demo=demo) if detach else start.foreground(home, base, demo=demo))


@main.command()
@_data
def down(data: str | None) -> None:
    """Stop everything and wait until it has ended."""
    from infra.local import start

    sys.exit(start.stop(Home.find(data)))


@main.command()
@_data
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def status(data: str | None, as_json: bool) -> None:
    """Show the health of each part. Exits 0 when all are well, 1 when one is not, 3 when nothing runs."""
    from infra.local import health

    report = health.report(Home.find(data))
    click.echo(json.dumps(report, indent=2) if as_json else health.in_words(report))
    sys.exit({"running": 0, "stopped": 3}.get(report["status"], 1))


@main.command()
@_data
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(min=0),
    default=50,
    show_default=True,
    help="How many lines of the past.",
)
@click.argument("part", required=False)
def logs(data: str | None, follow: bool, lines: int, part: str | None) -> None:
    """Print the log of PART, or of all parts with their names before each line."""
    from infra.local import logs as reader

    try:
        reader.show(Home.find(data), part, lines, follow=follow)
    except reader.UnknownPart as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        sys.exit(130)


@main.command()
@_data
def doctor(data: str | None) -> None:
    """Look for what would keep Farwatch from working here. Exits 1 when it finds an error."""
    from infra.local import doctor as checks

    findings = checks.examine(Home.find(data))
    click.echo(checks.in_words(findings))
    sys.exit(1 if any(finding.is_error for finding in findings) else 0)


@main.command(context_settings=_PASS_ON)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def test(arguments: tuple[str, ...]) -> None:
    """Lint, check types, imports and template, then run pytest with ARGUMENTS."""
    from infra.local import checks

    sys.exit(checks.run(list(arguments)))


@main.command(context_settings=_PASS_ON)
@click.argument("name")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def bench(name: str, arguments: tuple[str, ...]) -> None:
    """Run tests/bench/bench_NAME.py with ARGUMENTS."""
    import runpy

    from infra.local.home import CHECKOUT

    folder = CHECKOUT / "tests" / "bench"
    script = folder / f"bench_{name}.py"
    if not script.is_file():
        known = (
            ", ".join(sorted(f.stem.removeprefix("bench_") for f in folder.glob("bench_*.py"))) or "none yet"
        )
        raise click.ClickException(f"there is no bench {name!r}; there are: {known}")
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(script), run_name="__main__")


@main.group()
def backtest() -> None:
    """Run detectors or forecasts over history of your own."""


@main.group()
def rules() -> None:
    """Try rules before they are saved."""


@main.group()
def audit() -> None:
    """Examine the audit log."""


def _hand_over(group: click.Group, name: str, module: str, summary: str) -> None:
    """Add a command that passes all its arguments to `module`.main(argv) and exits with what that returns."""

    @group.command(name, context_settings=_PASS_ON, help=summary)
    @click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
    def command(arguments: tuple[str, ...]) -> None:
        from importlib import import_module

        run: Callable[[list[str]], int | None] = import_module(module).main
        sys.exit(run(list(arguments)))


_hand_over(
    backtest, "detect", "infra.local.backtest_detect", "Score every CSV below a folder with a detector."
)
_hand_over(
    backtest,
    "forecast",
    "infra.local.backtest_forecast",
    "Forecast windows of history and measure the error.",
)
_hand_over(rules, "test", "infra.local.rules_test", "Replay samples against the rules of a file.")
_hand_over(audit, "verify", "infra.local.audit_verify", "Prove that the audit log's chain is whole.")
_hand_over(main, "scan", "infra.scan", "Look for secrets, injection, weak crypto and bad CORS in a tree.")


@main.command()
@_data
def migrate(data: str | None) -> None:
    """Bring the database of the running installation to this checkout's schema."""
    home = Home.find(data)
    if not home.secrets.is_file():
        raise click.ClickException(f"{home.secrets} is not there; ./farwatch up writes it")
    from farwatch.adapters.postgres.migrate import migrate as apply

    applied = apply(json.loads(home.secrets.read_text())["database_url"])
    click.echo(f"Applied {', '.join(applied)}." if applied else "The schema is up to date.")


@main.command()
@click.option("--upgrade", is_flag=True, help="Take newer releases where pyproject.toml allows them.")
def lock(upgrade: bool) -> None:
    """Write locks/ anew from pyproject.toml (for developers)."""
    from infra.local import locks

    sys.exit(locks.write(upgrade=upgrade))
