import logging

from shared.observability.repeats import MOST_KEPT, Repeats


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def record(text: str, *values: object, name: str = "driver.client") -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, "", 0, text, values, None)


def test_one_of_a_kind_passes_and_the_next_says_how_many_were_held_back():
    clock = Clock()
    repeats = Repeats(["driver"], seconds=10, monotonic=clock)
    assert repeats.filter(record("no answer from %s", 1))
    assert [repeats.filter(record("no answer from %s", n)) for n in (1, 2, 3)] == [False] * 3
    assert repeats.filter(record("another %s", 1)), "of another kind"
    clock.now = 10
    late = record("no answer from %s", 4)
    assert repeats.filter(late)
    assert late.getMessage() == "no answer from 4 (and 3 more like it)"
    clock.now = 20
    later = record("no answer from %s", 5)
    assert repeats.filter(later)
    assert later.getMessage() == "no answer from 5"


def test_everybody_elses_messages_pass():
    repeats = Repeats(["driver"])
    assert all(
        repeats.filter(record("x", name=name)) for name in ("drivers", "root", "a.driver") * 2
    )


def test_what_is_remembered_is_bounded():
    repeats = Repeats(["driver"])
    assert all(repeats.filter(record(f"message {n}")) for n in range(3 * MOST_KEPT))
    assert len(repeats._until) <= MOST_KEPT
