"""Writes `docs/reference/reasons.md` from `reasons.py`.

python -m services.executor.commands.reasons_page            write
python -m services.executor.commands.reasons_page --check    say whether it is out of date, exit 1
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from services.executor.commands.reasons import GROUPS

ROOT = Path(__file__).parents[3]
PAGE = Path("docs/reference/reasons.md")


def page() -> str:
    """The page."""
    lines = [
        "# Reasons",
        "",
        "Generated from `services/executor/commands/reasons.py`; do not edit.",
        "",
        "Steps and runs carry `reason`, a stable word, beside `status` and `error`, a sentence.",
        "A run that completed has none, or `degraded`.",
    ]
    for title, group in GROUPS.items():
        lines += ["", f"## {title}", "", "| reason | meaning | what to do |", "|---|---|---|"]
        lines += [
            f"| `{word}` | {meaning} | {advice} |" for word, (meaning, advice) in group.items()
        ]
    return "\n".join([*lines, ""])


def main(argv: Sequence[str]) -> int:
    """Write, or with `--check` compare. Exit code 1: the page is out of date."""
    path, text = ROOT / PAGE, page()
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return 0
    if "--check" in argv:
        print(f"out of date: {PAGE} (python -m {__spec__.name})")  # noqa: T201
        return 1
    path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
