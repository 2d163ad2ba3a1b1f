"""The registry in Prometheus' text form, for `/metrics`.

Prometheus names follow OpenTelemetry's rules: dots become underscores, the unit is appended (`_seconds`, `_bytes`), and
counters end in `_total`.
"""

from collections.abc import Iterator

from shared.observability.metrics import Histogram, Instrument, Labels, Registry, Spec

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_UNITS = {"s": "_seconds", "By": "_bytes"}


def prometheus_name(spec: Spec) -> str:
    """Without the suffixes of a histogram's parts."""
    name = spec.name.replace(".", "_") + _UNITS.get(spec.unit, "")
    return f"{name}_total" if spec.kind == "counter" else name


def prometheus_text(registry: Registry) -> str:
    """Everything that has a value."""
    lines: list[str] = []
    for instrument in registry.instruments:
        if instrument.values:
            name = prometheus_name(instrument.spec)
            lines.append(f"# HELP {name} {_escaped(instrument.spec.description, quote=False)}")
            lines.append(f"# TYPE {name} {instrument.spec.kind}")
            lines.extend(_lines(name, instrument))
    return "\n".join([*lines, ""])


def _lines(name: str, instrument: Instrument) -> Iterator[str]:
    spec = instrument.spec
    if isinstance(instrument, Histogram):
        for labels, found in instrument.values.items():
            below = 0
            for bound, count in zip((*spec.bounds, None), found.counts, strict=True):
                below += count
                limit = "+Inf" if bound is None else _number(bound)
                yield f"{name}_bucket{_braces(spec, labels, le=limit)} {below}"
            yield f"{name}_sum{_braces(spec, labels)} {_number(found.total)}"
            yield f"{name}_count{_braces(spec, labels)} {below}"
        return
    values: dict[Labels, float] = getattr(instrument, "values", {})
    for labels, value in values.items():
        yield f"{name}{_braces(spec, labels)} {_number(value)}"


def _braces(spec: Spec, labels: Labels, *, le: str | None = None) -> str:
    pairs = [*zip(spec.labels, labels, strict=True), *([("le", le)] if le else [])]
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
    return f"{{{inside}}}" if inside else ""


def _escaped(text: str, *, quote: bool = True) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quote else text


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
