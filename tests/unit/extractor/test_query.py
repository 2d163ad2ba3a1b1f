import pytest

from services.extractor.errors import BadQuery, QueryTimeout
from services.extractor.lake.query import LakeQuery, QueryLimits
from services.extractor.lake.schema import table_of
from tests.builders.extractions import a_record

QUERY = LakeQuery(QueryLimits(rows=5, seconds=0.5))


@pytest.fixture(scope="module")
def table():
    record = a_record()
    return table_of([record.row(1, record.contents())])


async def test_a_question(table):
    found = await QUERY.run(
        "SELECT journey, started_at, date, passed, incomplete FROM executions", table
    )
    assert found.columns == ["journey", "started_at", "date", "passed", "incomplete"]
    assert found.rows == [
        ["Reserve A Meeting Room", "2024-07-16T10:25:00.000Z", "2024-07-16", 15, []]
    ]
    assert not found.truncated


async def test_sums_are_numbers(table):
    found = await QUERY.run(
        "SELECT sum(passed), avg(passed), 1.5::DECIMAL(4,1) FROM executions", table
    )
    assert found.rows == [[15, 15.0, "1.5"]]


async def test_rows_have_a_limit(table):
    found = await QUERY.run("SELECT range FROM range(100)", table)
    assert [row[0] for row in found.rows] == [0, 1, 2, 3, 4]
    assert found.truncated


async def test_answers_have_a_limit(table):
    small = LakeQuery(QueryLimits(answer_bytes=100_000))
    assert len((await small.run("SELECT repeat('x', 50) FROM range(1000)", table)).rows) == 1000
    with pytest.raises(BadQuery, match="larger than 100000 bytes"):
        await small.run("SELECT repeat('x', 50) FROM range(10000)", table)


@pytest.mark.parametrize(
    "value", ["'infinity'::TIMESTAMP", "'-infinity'::DATE", "TIMESTAMP '294247-01-10'"]
)
async def test_what_has_no_json_is_the_questions_fault(table, value):
    with pytest.raises(BadQuery):
        await QUERY.run(f"SELECT {value}", table)


async def test_time_has_a_limit(table):
    with pytest.raises(QueryTimeout):
        await QUERY.run("SELECT count(*) FROM range(100000) a, range(1000000) b", table)


@pytest.mark.parametrize(
    "sql",
    [
        "",
        "SELECT 1; SELECT 2",
        "SELEC 1",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/etc/passwd')",
        "SELECT * FROM read_parquet('s3://other/index.parquet')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM table",
        "SELECT * FROM customers",
        "SELECT getenv('HOME')",
        "COPY executions TO '/tmp/stolen.csv'",
        "ATTACH '/tmp/other.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "PRAGMA enable_external_access",
        "INSERT INTO executions SELECT * FROM executions",
        "DROP TABLE executions",
        "CREATE TABLE x AS SELECT 1",
        "EXPORT DATABASE '/tmp/x'",
        "CALL pragma_version()",
    ],
)
async def test_nothing_else_passes(table, sql):
    with pytest.raises(BadQuery):
        await QUERY.run(sql, table)
