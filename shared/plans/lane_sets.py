"""Sets of lanes as text, such as `1-4,6`: how an event or a document names thousands of them. Pure."""

from collections.abc import Iterable, Iterator


def spelled(lanes: Iterable[int]) -> str:
    """The text of a set of lanes: at most some 30 KiB for 10,000 of them, whichever they are."""
    runs: list[list[int]] = []
    for lane in sorted(set(lanes)):
        if runs and runs[-1][1] == lane - 1:
            runs[-1][1] = lane
        else:
            runs.append([lane, lane])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def lanes_in(text: str) -> Iterator[int]:
    """The lanes that a text names, in order."""
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        yield from range(int(first), int(last or first) + 1)
