"""What a training run leaves behind, without what differs between equal runs: the clock."""

import json
from pathlib import Path
from typing import Any


def logged(folder: Path) -> list[dict[str, Any]]:
    """Steps and evaluations without the clock."""
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [
        {key: value for key, value in event.items() if key != "seconds"}
        for event in events
        if event["event"] in ("step", "evaluated")
    ]
