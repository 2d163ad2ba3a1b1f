"""Writes `docs/reference/metrics.md` from the instruments.

`python -m shared.observability.reference` writes it, with `--check` it writes nothing and exits 1 when it is stale.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from shared.observability import instruments
from shared.observability.exposition import prometheus_name
from shared.observability.metrics import REGISTRY, Spec

PATH = Path(__file__).resolve().parents[2] / "docs" / "reference" / "metrics.md"
HEAD = """\
# Metrics

Every service answers `GET /metrics` in Prometheus' text form; with `TELEMETRY__OTLP_ENDPOINT` set the same goes to an
OpenTelemetry collector every `TELEMETRY__METRICS_SECONDS`. Labels are bounded: none names a tenant, a run or anything
else that callers choose; past 200 series an instrument counts under `other`. What to watch and what to do:
[Operate](../howto/operate.md).

Written by `make docs` from `shared/observability/instruments.py`; do not edit.

| OpenTelemetry | Prometheus | kind | unit | labels | meaning |
|---|---|---|---|---|---|
"""


def render() -> str:
    """The whole page."""
    return HEAD + "".join(_rows([instrument.spec for instrument in REGISTRY.instruments]))


def _rows(specs: Sequence[Spec]) -> Iterator[str]:
    for spec in specs:
        labels = ", ".join(f"`{label}`" for label in spec.labels)
        buckets = (
            f" Buckets up to {', '.join(f'{b:g}' for b in spec.bounds)}." if spec.bounds else ""
        )
        yield (
            f"| `{spec.name}` | `{prometheus_name(spec)}` | {spec.kind} | `{spec.unit}` | {labels} "
            f"| {spec.description}{buckets} |\n"
        )


def main(argv: Sequence[str]) -> int:
    """Write, or with `--check` compare."""
    assert instruments.READY in REGISTRY.instruments  # noqa: S101 - the table is what fills the registry
    text = render()
    if PATH.exists() and PATH.read_text("utf-8") == text:
        return 0
    if "--check" in argv:
        print(f"stale: {PATH.name} (make docs)")  # noqa: T201 - the answer of a command
        return 1
    PATH.write_text(text, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
