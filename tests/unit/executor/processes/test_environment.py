"""What a step's process sees."""

from pathlib import Path

from services.executor.processes.environment import build_environment


def test_only_the_allow_list_and_what_was_declared():
    env = build_environment(
        {"PATH": "/bin", "TZ": "UTC", "MONGO__URI": "secret", "HOME": "/root"},
        working_dir=Path("/work"),
        declared={"A": "1", "PATH": "/mine:/bin", "CADENZA_OWNER": "forged"},
        platform={"CADENZA_EXECUTION_ID": "x"},
        output_file=Path("/o"),
        owner="host/boot/1/2",
    )
    assert env == {
        "PATH": "/mine:/bin",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "HOME": "/work",
        "TMPDIR": "/tmp",
        "A": "1",
        "CADENZA_EXECUTION_ID": "x",
        "CADENZA_OUTPUT": "/o",
        "CADENZA_OWNER": "host/boot/1/2",
    }


def test_there_is_always_a_path():
    assert "/usr/bin" in build_environment({}, working_dir=Path("/w"))["PATH"]
