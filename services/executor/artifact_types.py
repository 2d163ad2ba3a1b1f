"""What a file left in `$CADENZA_ARTIFACTS` is, by its name."""

import re

from shared.plans.plan import ArtifactType

_RULES: tuple[tuple[str, ArtifactType], ...] = (
    (r"\.(?:png|jpe?g|webp)", "screenshot"),
    (r"\.(?:webm|mp4)", "video"),
    (r"(?:^|/)trace[^/]*\.zip", "trace"),
    (r"(?:^|/)(?:junit|report)[^/]*\.(?:xml|html|json)", "report"),
    (r"\.log", "log"),
)


def type_of(name: str) -> ArtifactType:
    """Its type; `data` when the name says nothing."""
    return next(
        (kind for pattern, kind in _RULES if re.search(f"{pattern}$", name, re.IGNORECASE)), "data"
    )
