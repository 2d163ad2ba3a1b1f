"""Thousands of lanes as a short text."""

import random

from shared.plans.lane_sets import lanes_in, spelled


def test_neighbours_are_spelled_as_one():
    assert spelled([6, 1, 2, 3, 9, 10]) == "1-3,6,9-10"
    assert spelled([]) == ""
    assert list(lanes_in("")) == []


def test_every_set_comes_back_and_none_is_long():
    seed = random.randrange(2**32)
    print("seed", seed)
    rng = random.Random(seed)
    for share in (0.01, 0.5, 0.99):
        lanes = [lane for lane in range(1, 10_001) if rng.random() < share]
        assert list(lanes_in(spelled(lanes))) == lanes
    assert len(spelled(range(1, 10_001, 2))) < 30_000
