"""Profiles of small tables whose figures were worked out by hand, and the kinds that columns are taken for."""

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.executor.programs.data_quality.__main__ import profile
from services.executor.programs.data_quality.detection import classification_of, kind_of
from services.executor.programs.data_quality.request import ProfileRequest, Unusable
from services.executor.programs.data_quality.scoring import WEIGHTS

close = pytest.approx


def of_file(path, **options):
    return profile(ProfileRequest(path=str(path), report="unused", outputs="unused", **options))


def of_text(tmp_path, text, name="table.csv", **options):
    path = tmp_path / name
    path.write_text(text)
    return of_file(path, **options)


def of_column(tmp_path, values, name="x"):
    """The column and the report of a table with this column and a counter."""
    lines = [f"{name},n"] + [f"{'' if v is None else v},{n}" for n, v in enumerate(values)]
    report = of_text(tmp_path, "\n".join(lines) + "\n")
    return report["columns"][0], report


def test_figures_of_numbers(tmp_path):
    """1 2 2 3 4 5 100: quartiles by interpolation 2 and 4.5, so what lies above 8.25 is far outside."""
    column, report = of_column(tmp_path, [1, 2, 2, 3, 4, 5, 100, None])
    assert column["kind"] == "integer"
    assert column["counts"] == {"total": 8, "null": 1, "unique": 6, "duplicate": 1}
    details = column["details"]
    assert (details["min"], details["max"], details["median"], details["mode"]) == (1, 100, 3, 2)
    assert details["mean"] == close(117 / 7)
    assert (details["q1"], details["q3"]) == (2, 4.5)
    # squares of the differences from 117/7 add up to 10059 - 117²/7
    variance = (1 + 4 + 4 + 9 + 16 + 25 + 10_000 - 117**2 / 7) / 6
    assert details["variance"] == close(variance)
    assert details["standard_deviation"] == close(variance**0.5)
    assert details["outliers"] == {"count": 1, "values": [100]}
    assert column["scores"] == {
        "completeness": 7 / 8,
        "uniqueness": close(6 / 7),
        "validity": 1,
        "consistency": 0.8,
    }
    rules = {issue["rule"] for issue in report["issues"] if issue["column"] == "x"}
    assert rules == {"nulls", "outliers"}, "12.5 % and 14.3 %"


def test_the_score_is_the_weighted_mean_of_the_dimensions(tmp_path):
    report = of_text(tmp_path, "code,n\nA1,1\nA2,2\nA3,3\nbcd,4\n,5\n")
    # code: 4 of 5, all differ, 3 of 4 have the shape A9; n: 5 of 5, all differ, no shape
    dimensions = {
        "completeness": (0.8 + 1) / 2,
        "validity": 1,
        "consistency": (0.75 + 0.8) / 2,
        "uniqueness": 1,
        "accuracy": 0.8,
        "timeliness": 0.8,
    }
    assert report["dimensions"] == close(dimensions)
    assert sum(WEIGHTS.values()) == close(1)
    by_hand = 0.25 * 0.9 + 0.25 * 1 + 0.2 * 0.775 + 0.15 * 1 + 0.1 * 0.8 + 0.05 * 0.8
    assert report["score"] == close(by_hand)
    assert {i["rule"] for i in report["issues"]} == {"nulls", "consistency"}


def test_figures_of_text(tmp_path):
    column, _ = of_column(tmp_path, ["ab-12", "cd-34", "é-5", "ab-12"], name="code")
    details = column["details"]
    assert (column["kind"], details["length"]) == (
        "string",
        {"min": 3, "max": 5, "average": 18 / 4},
    )
    assert details["patterns"] == [{"value": "AA-99", "count": 3}, {"value": "A-9", "count": 1}]
    assert details["top_values"][0] == {"value": "ab-12", "count": 2}
    assert column["scores"]["consistency"] == 0.75


def test_figures_of_dates_and_categories(tmp_path):
    dates = ["2026-01-31", "2025-12-01", "2026-02-28"] * 10
    column, _ = of_column(tmp_path, dates, name="day")
    assert column["kind"] == "datetime"
    assert column["details"] == {
        "earliest": "2025-12-01T00:00:00",
        "latest": "2026-02-28T00:00:00",
        "format": "%Y-%m-%d",
    }
    column, _ = of_column(tmp_path, ["red"] * 30 + ["blue"] * 10, name="colour")
    assert column["kind"] == "categorical"
    assert column["details"] == {
        "cardinality": 2,
        "distribution": {"red": 0.75, "blue": 0.25},
    }


KINDS = [
    (["ann@example.org", "bob@example.co.uk"], "email"),
    (["+49 30 1234567", "(030) 765-4321"], "phone"),
    (["https://example.org/a?b=1", "http://x.example"], "url"),
    (["6d1c1d2e-0a6b-5a43-9b0e-5f6d1f0c7a11"], "uuid"),
    (["192.0.2.7", "2001:db8::1"], "ip"),
    (["$1,200.50", "€ 7", "12.00 EUR"], "currency"),
    (["2026-01-31", "2026-02-01"], "datetime"),
    (["2026-01-31T12:00:00Z", "2026-01-31T12:00:00+02:00"], "datetime"),
    (["31.01.2026", "01.02.2026"], "datetime"),
    (["1", "-2", "+3"], "integer"),
    (["1.5", "2", "1e-3", ".5"], "float"),
    (["true", "No", "y"], "boolean"),
    (['{"a": 1}', "[1, 2]"], "json"),
    (["word " * 30, "other " * 30], "free_text"),
    (["red", "green"], "string"),
    ([], "string"),
    # columns of numbers that could be read as something that comes before numbers
    (["20260131", "20260201", "19991231"], "integer"),
    (["1769860800", "1769947200"], "integer"),
    (["2024", "2025", "2026"], "integer"),
    (["1.2", "3.4", "12.11"], "float"),
    (["20260131.5", "20260201.25"], "float"),
    (["4930123456", "4930765432"], "integer"),
    (["1200", "7", "12"], "integer"),
    (["0", "1", "1", "0"], "integer"),
    (["2026-13-45", "2026-99-01"], "string"),
    (["1-2", "3-4"], "string"),
]


@pytest.mark.parametrize(("values", "kind"), KINDS, ids=lambda value: str(value)[:40])
def test_what_a_column_is_taken_for(values, kind):
    assert kind_of(values) == kind


def test_four_fifths_are_not_enough():
    assert kind_of(["1"] * 8 + ["x", "y"]) == "string"
    assert kind_of(["1"] * 81 + ["x"] * 19) == "integer"


def test_numbers_of_any_size_are_never_taken_for_dates():
    rng = random.Random(7)
    for _ in range(200):
        values = [str(rng.randint(0, 10 ** rng.randint(1, 14))) for _ in range(20)]
        assert kind_of(values) == "integer", values
        values = [f"{rng.uniform(-1e6, 1e6):.{rng.randint(1, 6)}f}" for _ in range(20)]
        assert kind_of(values) == "float", values


def test_what_is_wrong_for_its_kind_counts_against_validity(tmp_path):
    column, report = of_column(tmp_path, ["a@example.org"] * 9 + ["nobody"], name="contact")
    assert (column["kind"], column["scores"]["validity"]) == ("email", 0.9)
    issue = next(one for one in report["issues"] if one["rule"] == "validity")
    assert issue["severity"] == "medium"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("email", "PII"),
        ("customerName", "PII"),
        ("user_age", "PII"),
        ("language", None),
        ("page", None),
        ("phoneNumber", "PII"),
        ("SSN", "PII"),
        ("apiKey", "SENSITIVE"),
        ("monkey", None),
        ("passwords", "SENSITIVE"),
        ("net_salary", "SENSITIVE"),
        ("amount", None),
    ],
)
def test_what_a_name_says(name, expected):
    assert classification_of(name) == expected


def test_personal_and_secret_values_are_not_shown(tmp_path):
    text = "email,salary,note\n" + "".join(f"p{n}@example.org,{n**4},x{n}\n" for n in range(40))
    report = of_text(tmp_path, text)
    told = json.dumps(report)
    assert "p7@" not in told
    assert str(39**4) not in json.dumps(report["columns"][1]["details"]["outliers"])
    assert report["columns"][1]["details"]["outliers"]["count"] > 0
    assert [one["critical"] for one in report["columns"]] == [True, True, False]
    assert '"x10"' in told


def test_relations_between_columns(tmp_path):
    rows = [
        (n, 10 - 2 * n, "DE" if n % 2 else "FR", "Berlin" if n % 2 else "Paris") for n in range(8)
    ]
    text = "a,b,country,capital\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    report = of_text(tmp_path, text)
    assert report["correlations"] == [{"columns": ["a", "b"], "value": close(-1)}]
    found = {(one["determinant"], one["dependent"]) for one in report["functional_dependencies"]}
    assert found == {("country", "capital"), ("capital", "country")}


def test_the_same_sample_every_time_and_no_more_than_asked_for(tmp_path):
    text = "n,word\n" + "".join(f"{n},w{n % 7}\n" for n in range(5_000))
    first = of_text(tmp_path, text, sample_rows=1_000)
    assert (first["rows"], first["sampled_rows"]) == (5_000, 1_000)
    assert of_text(tmp_path, text, sample_rows=1_000) == first


def test_parquet_and_json_say_themselves_what_they_hold(tmp_path):
    table = pa.table(
        {
            "id": [1, 2, 3, None],
            "price": [1.5, float("inf"), 2.5, 3.5],
            "on": [True, False, None, True],
            "tags": [["a"], [], None, ["b", "c"]],
            'odd "name" --': ["a", "b", "c", "d"],
        }
    )
    path = tmp_path / "t.parquet"
    pq.write_table(table, path)
    report = of_file(path)
    kinds = [one["kind"] for one in report["columns"]]
    assert kinds == ["integer", "float", "boolean", "json", "string"]
    assert report["columns"][1]["details"]["mean"] == close(2.5), "of what is finite"
    assert report["columns"][0]["counts"]["null"] == 1
    lines = "\n".join(json.dumps({"id": n, "day": f"2026-01-0{n}"}) for n in range(1, 5))
    report = of_text(tmp_path, lines, name="t.jsonl")
    assert [one["kind"] for one in report["columns"]] == ["integer", "datetime"]


def test_one_value_and_few_values(tmp_path):
    text = "same,few,n\n" + "".join(f"x,{n % 2},{n}\n" for n in range(400))
    report = of_text(tmp_path, text)
    rules = {(one["column"], one["rule"]) for one in report["issues"]}
    assert rules == {("same", "single_value"), ("few", "few_values")}


def test_at_most_ten_recommendations(tmp_path):
    text = ",".join(f"c{n}" for n in range(30)) + "\n" + (",".join(["x"] * 30) + "\n") * 5
    report = of_text(tmp_path, text)
    assert len(report["issues"]) == 30
    assert len(report["recommendations"]) == 10


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("nowhere.csv", None, "source_missing"),
        ("empty.csv", b"", "source_empty"),
        ("head.csv", b"a,b\n", "source_empty"),
        ("x.parquet", b"not parquet", "source_unreadable"),
        ("x.json", b"{broken", "source_unreadable"),
        ("x.bin", b"a,b\n1,2\n", "source_unreadable"),
        ("wide.csv", b",".join(b"c%d" % n for n in range(600)) + b"\n" + b",".join([b"1"] * 600), "source_unreadable"),
    ],
)  # fmt: skip
def test_what_cannot_be_profiled_is_said_with_a_stable_word(tmp_path, name, content, reason):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(Unusable) as caught:
        of_file(tmp_path / name)
    assert caught.value.reason == reason


def test_no_name_of_a_column_is_obeyed(tmp_path):
    name = 'x"; DROP TABLE sample; --'
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({name: [1, 2, 3], "y": [3, 2, 1]}), path)
    assert [one["name"] for one in of_file(path)["columns"]] == [name, "y"]
