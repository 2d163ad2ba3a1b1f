"""Writes `docs/reference/reasons.md` from `reasons.py`, and `shared/plans/reasons.json`: the words, to check plans by.

python -m services.executor.commands.reasons_page            write
python -m services.executor.commands.reasons_page --check    say whether it is out of date, exit 1
"""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from services.executor.commands.reasons import GROUPS, REASONS
from services.executor.planning.retries import HOPELESS

ROOT = Path(__file__).parents[3]
PAGE = Path("docs/reference/reasons.md")
WORDS = Path("shared/plans/reasons.json")


def page() -> str:
    """The page."""
    lines = [
        "# Reasons",
        "",
        "Generated from `services/executor/commands/reasons.py`; do not edit.",
        "",
        "Steps and runs carry `reason`, a stable word, beside `status` and `error`, a sentence.",
        "A run that completed has none, or `degraded`.",
        "",
        f"`retry` never tries these again, as they come out the same: {', '.join(_hopeless())}.",
        "More of them for a step: `retry: {never_on: [assertion_failed]}`.",
    ]
    for title, group in GROUPS.items():
        lines += ["", f"## {title}", "", "| reason | meaning | what to do |", "|---|---|---|"]
        lines += [
            f"| `{word}` | {meaning} | {advice} |" for word, (meaning, advice) in group.items()
        ]
    return "\n".join([*lines, ""])


def main(argv: Sequence[str]) -> int:
    """Write, or with `--check` compare. Exit code 1: something is out of date."""
    files = {PAGE: page(), WORDS: json.dumps(sorted(REASONS), indent=2) + "\n"}
    stale = {path: text for path, text in files.items() if _read(ROOT / path) != text}
    for path, text in stale.items():
        if "--check" in argv:
            print(f"out of date: {path} (python -m {__spec__.name})")  # noqa: T201
        else:
            (ROOT / path).write_text(text, encoding="utf-8")
    return 1 if stale and "--check" in argv else 0


def _hopeless() -> list[str]:
    return [f"`{word}`" for word in REASONS if word in HOPELESS]


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
