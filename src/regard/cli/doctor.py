"""Report what this machine is and whether everything works on it; for speed questions and bug reports."""

import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.text import Text

from regard.cli.options import Device

if TYPE_CHECKING:
    from regard.pipelines.environment import Environment
    from regard.pipelines.self_test import Check

EXAMPLES = """
regard doctor
regard doctor --json > report.json
"""

_LITTLE = 1 << 30
"""Fewer free bytes than these, in memory or on a disk, are shown as a warning."""


def command(
    device: Device = "auto",
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, max=600, help="Length of the self-test.")] = 5.0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> int:
    """Report versions, processor, devices, memory and disk, and run a small self-test.

    Exit code 0 if all checks pass, 1 if one fails.
    """
    from regard.pipelines.environment import look_around
    from regard.pipelines.self_test import self_test
    from regard.training.numerics import choose_device

    place = choose_device(device)
    environment = look_around({"working folder": Path(), "temporary files": Path(tempfile.gettempdir())})
    console = Console(soft_wrap=True, highlight=False)
    if not as_json:
        _print_environment(console, environment)
        console.print(Text(f"self-test on {place}", style="bold"))
    checks = []
    for check in self_test(place, seconds=seconds):
        checks.append(check)
        if not as_json:
            _print_check(console, check)
    if as_json:
        report = {**environment._asdict(), "checks": [check._asdict() for check in checks]}
        sys.stdout.write(json.dumps(report, ensure_ascii=False) + "\n")
    return 0 if all(check.passed for check in checks) else 1


def _print_environment(console: Console, environment: "Environment") -> None:
    _print_facts(console, "versions", {name: found or "missing" for name, found in environment.versions.items()})
    _print_facts(console, "processor", environment.processor)
    for device in environment.devices:
        facts = {name: _gigabytes(value) if name == "memory" else value for name, value in device.items()}
        _print_facts(console, "device", facts)
    _print_facts(
        console,
        "memory",
        {name: _gigabytes(number) for name, number in environment.memory.items() if number is not None},
    )
    disk = {name: f"{_gigabytes(int(facts['free']))} free" for name, facts in environment.disk.items()}
    _print_facts(console, "disk", disk)
    free = [environment.memory["available"], *(int(facts["free"]) for facts in environment.disk.values())]
    if any(number is not None and number < _LITTLE for number in free):
        console.print(Text("  less than 1 GB is free: training may stop for lack of it", style="yellow"))


def _print_facts(console: Console, title: str, facts: Mapping[str, object]) -> None:
    console.print(Text(title, style="bold"))
    for name, value in facts.items():
        shown = ("no", "yes")[value] if isinstance(value, bool) else str(value)
        console.print(Text(f"  {name:<22} {shown}"))


def _print_check(console: Console, check: "Check") -> None:
    """One line as soon as the check is done, for some take a second."""
    verdict = ("ok    ", "green") if check.passed else ("FAILED", "bold red")
    console.print(Text.assemble("  ", verdict, f"  {check.name}: {check.detail}"))


def _gigabytes(number: object) -> str:
    return f"{number / (1 << 30):.1f} GB" if isinstance(number, int) else "unknown"
