"""Tables in artifacts."""

import pytest

from services.executor.commands.children import UnusableTable
from services.executor.tables import read_table


def test_csv_has_a_header_and_quotes():
    data = '\ufeffname,seats\r\n"ann, b",1\r\nböb,"2\n3"\r\n'.encode()
    assert read_table(data, "csv") == [
        {"name": "ann, b", "seats": "1"},
        {"name": "böb", "seats": "2\n3"},
    ]


def test_json_is_a_list_of_objects():
    assert read_table(b'[{"a": {"b": 1}}]', "json") == [{"a": {"b": 1}}]


@pytest.mark.parametrize(
    ("data", "format", "why"),
    [
        (b"a,b\n1\n", "csv", "row 2"),
        (b"a,b\n1,2,3\n", "csv", "row 2"),
        (b"a\n\xff\n", "csv", "UTF-8"),
        (b"a,b\n", "csv", "no rows"),
        (b"", "csv", "no rows"),
        (b"{", "json", "no JSON"),
        (b'{"a": 1}', "json", "list of objects"),
        (b"[1]", "json", "list of objects"),
        (b"a\n" + b"1\n" * 10_001, "csv", "at most 10000"),
    ],
)
def test_what_is_no_table_is_said_in_a_sentence(data, format, why):
    with pytest.raises(UnusableTable, match=why):
        read_table(data, format)
