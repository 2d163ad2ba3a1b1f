"""Where the engine's configuration may come from."""

import json

import pytest

from services.executor.library import ExecutionConfig
from shared.errors import ConfigurationError


def test_the_defaults_are_the_documented_ones():
    config = ExecutionConfig.from_env({})
    assert config == ExecutionConfig()
    assert (config.default_timeout_ms, config.max_timeout_ms) == (120_000, 600_000)
    assert (config.stream_output, config.max_concurrent_executions) == (True, 10)


def test_every_documented_variable_is_read():
    config = ExecutionConfig.from_env(
        {
            "EXEC_DEFAULT_TIMEOUT_MS": "1000",
            "EXEC_MAX_TIMEOUT_MS": "2000",
            "EXEC_STREAM_OUTPUT": "false",
            "EXEC_LOG_DIR": "/var/log/x",
            "EXEC_MAX_CONCURRENT": "3",
            "EXEC_INHERIT_ENV": "PATH,HOME",
        }
    )
    assert (config.default_timeout_ms, config.max_timeout_ms) == (1000, 2000)
    assert (config.stream_output, config.max_concurrent_executions) == (False, 3)
    assert str(config.log_folder) == "/var/log/x"
    assert config.inherit_env == ("PATH", "HOME")


def test_presets():
    for preset, timeout, maximum, stream, room in [
        (ExecutionConfig.production(), 300_000, 1_800_000, True, 50),
        (ExecutionConfig.development(), 60_000, 300_000, True, 5),
        (ExecutionConfig.test(), 10_000, 30_000, False, 1),
    ]:
        assert (preset.default_timeout_ms, preset.max_timeout_ms) == (timeout, maximum)
        assert (preset.stream_output, preset.max_concurrent_executions) == (stream, room)


def test_toml_and_json_files_say_the_same(tmp_path):
    (tmp_path / "c.toml").write_text("default_timeout_ms = 5\nmax_concurrent_executions = 2\n")
    (tmp_path / "c.json").write_text(
        json.dumps({"default_timeout_ms": 5, "max_concurrent_executions": 2})
    )
    config = ExecutionConfig.from_file(tmp_path / "c.toml")
    assert config == ExecutionConfig.from_file(tmp_path / "c.json")
    assert (config.default_timeout_ms, config.max_concurrent_executions) == (5, 2)


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"EXEC_MAX_CONCURRENT": "many"}, "EXEC_MAX_CONCURRENT"),
        ({"EXEC_MAX_TIMEOUT_MS": "0"}, "EXEC_MAX_TIMEOUT_MS"),
        ({"EXEC_DEFAULT_TIMEOUT_MS": "700000"}, "700000 is above max_timeout_ms 600000"),
    ],
)
def test_a_wrong_variable_is_named(variables, message):
    with pytest.raises(ConfigurationError, match=message):
        ExecutionConfig.from_env(variables)


def test_a_wrong_file_is_named(tmp_path):
    (tmp_path / "c.toml").write_text("default_timeout = 5")
    with pytest.raises(ConfigurationError, match="default_timeout"):
        ExecutionConfig.from_file(tmp_path / "c.toml")
    (tmp_path / "d.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"d\.json"):
        ExecutionConfig.from_file(tmp_path / "d.json")
    with pytest.raises(ConfigurationError, match=r"gone\.toml"):
        ExecutionConfig.from_file(tmp_path / "gone.toml")
