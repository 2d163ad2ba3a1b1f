"""A sample of a CSV, Parquet or JSON file as the table `sample` of a DuckDB in memory."""

from pathlib import Path

import duckdb

from services.executor.programs.data_quality.request import ProfileRequest, Unusable

SEED = 42
"""The same rows are looked at every time."""
MAX_COLUMNS = 500
ENDINGS = {
    ".csv": "csv", ".tsv": "csv", ".txt": "csv", ".parquet": "parquet", ".pq": "parquet",
    ".json": "json", ".jsonl": "json", ".ndjson": "json",
}  # fmt: skip


def open_sample(request: ProfileRequest) -> tuple[duckdb.DuckDBPyConnection, int]:
    """The connection, through which nothing else can be read, and how many rows the whole file has. Raises Unusable."""
    path = Path(request.path)
    if not path.is_file():
        raise Unusable("source_missing", f"there is no file '{path.name}'")
    connection = duckdb.connect(
        config={
            "threads": 2,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "temp_directory": "",
        }
    )
    reader, arguments = _reader(request, path)
    try:
        total = _load(connection, reader, arguments, request.sample_rows)
    except duckdb.Error as error:
        line = str(error).splitlines()[0][:300]
        raise Unusable("source_unreadable", f"'{path.name}' cannot be read: {line}") from None
    connection.execute("SET enable_external_access = false")
    columns = connection.execute("DESCRIBE sample").fetchall()
    if len(columns) > MAX_COLUMNS:
        raise Unusable("source_unreadable", f"{len(columns)} columns; at most {MAX_COLUMNS}")
    if total == 0:
        raise Unusable("source_empty", f"'{path.name}' has no rows")
    return connection, total


def _load(
    connection: duckdb.DuckDBPyConnection, reader: str, arguments: list[object], rows: int
) -> int:
    # `rows` is a checked number; a sample's size cannot be a parameter
    counted = connection.execute(f"SELECT count(*) FROM {reader}", arguments).fetchone()  # noqa: S608
    connection.execute(
        f"CREATE TABLE sample AS SELECT * FROM {reader}"  # noqa: S608
        f" USING SAMPLE reservoir({int(rows)} ROWS) REPEATABLE ({SEED})",
        arguments,
    )
    return int(counted[0]) if counted else 0


def _reader(request: ProfileRequest, path: Path) -> tuple[str, list[object]]:
    format_ = request.format if request.format != "auto" else ENDINGS.get(path.suffix.lower())
    if format_ == "parquet":
        return "read_parquet(?)", [str(path)]
    if format_ == "json":
        return "read_json_auto(?)", [str(path)]
    if format_ != "csv":
        known = ", ".join(sorted(ENDINGS))
        raise Unusable("source_unreadable", f"name the format; known endings: {known}")
    options = f"all_varchar = true, header = {str(request.header).lower()}"
    if request.delimiter is None:
        return f"read_csv(?, {options})", [str(path)]
    return f"read_csv(?, {options}, delim = ?)", [str(path), request.delimiter]
