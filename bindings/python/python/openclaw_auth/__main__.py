"""`python -m openclaw_auth status` and `doctor`: what the library reports, for people and scripts."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap

from . import __version__
from ._engine import Engine, doctor
from ._errors import OpenClawAuthError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ._types import DoctorReport, StatusReport


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command; gives the exit code."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "doctor":
            report = doctor(options.config, allow_exec=options.allow_exec, deep=options.deep)
            _print(report if options.json else _doctor_lines(report))
            return 1 if options.check and not report["ok"] else 0
        with Engine._to_look_at(options.config, allow_exec=options.allow_exec) as engine:
            status = engine.status(agent=options.agent)
            _print(status if options.json else _status_lines(status))
            return status["check"]["exitCode"] if options.check else 0
    except OpenClawAuthError as error:
        hint = f" ({error.hint})" if error.hint else ""
        print(f"openclaw_auth: {error.message}{hint} [{error.code}]", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m openclaw_auth")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, about in (
        ("status", "show models, credentials and how long they last"),
        ("doctor", "show what is wrong with the installation; changes nothing"),
    ):
        command = commands.add_parser(name, help=about, description=about.capitalize() + ".")
        command.add_argument("--config", metavar="FILE", help="instead of what OpenClaw reads")
        command.add_argument("--json", action="store_true", help="the whole document")
        command.add_argument("--allow-exec", action="store_true", help="also run exec providers")
        if name == "status":
            command.add_argument("--agent", metavar="ID", help="instead of the default agent")
            about = "exit with 1 for expired or missing credentials, 2 for expiring ones"
        else:
            command.add_argument(
                "--deep", action="store_true", help="also contact token endpoints and the gateway"
            )
            about = "exit with 1 when there is an error"
        command.add_argument("--check", action="store_true", help=about)
    return parser


def _print(what: StatusReport | DoctorReport | Iterator[str]) -> None:
    if isinstance(what, dict):
        print(json.dumps(what, indent=2))
    else:
        print("\n".join(what))


def _status_lines(status: StatusReport) -> Iterator[str]:
    auth = status["auth"]
    yield f"config   {status['configPath']}"
    yield f"agent    {status['agentId']}"
    yield f"model    {status['resolvedDefault']}"
    for provider in auth["providers"]:
        effective = provider["effective"]
        detail = effective.get("profileId") or effective["detail"]
        yield f"{provider['provider']:<16} {effective['kind']:<12} {detail}"
    for unusable in auth["unusableProfiles"]:
        seconds = unusable["remainingMs"] // 1000
        yield f"{unusable['profileId']}: {unusable['kind']} for {seconds} s"
    for reason in status["check"]["reasons"]:
        yield f"{reason['severity']}: {reason['message']}"
    for hint in status["hints"]:
        yield f"hint: {hint['message']}"


def _doctor_lines(report: DoctorReport) -> Iterator[str]:
    for finding in report["findings"]:
        place = f"{finding['path']}: " if "path" in finding else ""
        text = f"{finding['severity']:<8} {place}{finding['message']} [{finding['checkId']}]"
        yield textwrap.fill(text, 80, subsequent_indent=" " * 9, break_long_words=False)
        if hint := finding.get("fixHint"):
            indent = " " * 9
            yield textwrap.fill(hint, 80, initial_indent=indent, subsequent_indent=indent)
    errors = sum(finding["severity"] == "error" for finding in report["findings"])
    yield f"{report['checksRun']} checks, {len(report['findings'])} findings, {errors} errors"


if __name__ == "__main__":
    sys.exit(main())
