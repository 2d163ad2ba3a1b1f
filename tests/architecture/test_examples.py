"""Every example is run by a test."""

from pathlib import Path

from tests.e2e.examples import ELSEWHERE, EXAMPLES, NO_PLANS, TABLE

ROOT = Path(__file__).parents[2]


def test_every_example_is_in_the_table():
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir()}
    assert folders == {one.folder for one in TABLE} | set(ELSEWHERE)
    assert all((EXAMPLES / one.plan).is_file() for one in TABLE)
    plans = {f"{path.parent.name}/{path.name}" for path in EXAMPLES.glob("*/*.yaml")}
    assert plans - NO_PLANS == {one.plan for one in TABLE}


def test_examples_without_a_plan_are_run_elsewhere():
    for folder, test in ELSEWHERE.items():
        assert folder in (ROOT / test).read_text("utf-8")
