"""The file in which a process leaves its outputs."""

import os

import pytest

from services.executor.processes.outputs import InvalidOutput, read_outputs


def test_lines_are_merged_and_the_later_wins(tmp_path):
    path = tmp_path / "out"
    assert read_outputs(path) == {}
    path.write_bytes('{"a": 1, "b": [1]}\r\n\n{"a": null, "c": "ü"}'.encode())
    assert read_outputs(path) == {"a": None, "b": [1], "c": "ü"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b'{"a": 1}\nnope', "line 2.*not JSON"),
        (b"[1]", "line 1.*not an object"),
        (b'{"a": ' + b"1" * 30 + b"}", "line 1.*64 bits"),
        (b'{"a": "\\ud800"}', "line 1.*surrogate"),
        (b'{"a\\u0000": 1}', "line 1.*NUL"),
        (b'{"a": NaN}', "line 1.*finite"),
        (b'{"a": "\xff"}', "line 1.*JSON"),
        (b'{"a": ' + b"[" * 200 + b"]" * 200 + b"}", "line 1.*levels"),
        (b"[" * 100_000, "line 1.*JSON"),
        (b" " * (1024 * 1024 + 1), "larger"),
    ],
)
def test_what_breaks_a_rule_is_named(tmp_path, content, message):
    (tmp_path / "out").write_bytes(content)
    with pytest.raises(InvalidOutput, match=message):
        read_outputs(tmp_path / "out")


def test_nothing_but_a_plain_file_is_read(tmp_path):
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("link", "pipe", "folder"):
        with pytest.raises(InvalidOutput):
            read_outputs(tmp_path / name)
