"""`aws_cli` steps by the real `aws` program against moto."""

import asyncio
import json
import socket
import sys
import threading
from contextlib import ExitStack
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from services.executor.commands.aws_cli import words
from services.executor.commands.reach import AwsProgram, Reach
from services.executor.commands.registry import build_registry
from services.executor.processes.model import Limits
from shared.security.redaction import Redactor
from tests.unit.executor.processes.contexts import a_context

AWS = str(Path(sys.executable).with_name("aws"))
KEYS = {"AWS_ACCESS_KEY_ID": "testing", "AWS_SECRET_ACCESS_KEY": "super-secret-key"}
COMMAND = build_registry().get("aws_cli")


@pytest.fixture
def aws(tmp_path, aws_process):
    async def run(service, operation, args=(), *, env=KEYS, reach=None, **fields):
        more = {
            name: fields.pop(name) for name in ("output", "profile", "region") if name in fields
        }
        program = reach or AwsProgram(AWS, aws_process.endpoint_url)
        ctx, printed = a_context(tmp_path, timeout=60, env=env, reach=Reach(aws=program), **fields)
        arguments = {"service": service, "operation": operation, "args": args or [], **more}
        return await COMMAND.execute({"region": "us-east-1"} | arguments, ctx), printed

    return run


def test_a_mapping_becomes_a_command_line():
    assert words(
        {
            "bucket": "b",
            "max_items": 5,
            "dry-run": True,
            "paginate": False,
            "nothing": None,
            "instance_ids": ["i-1", "i-2"],
            "filters": [{"Name": "tag:a", "Values": ["ü"]}],
            "empty": [],
        }
    ) == [
        *("--bucket", "b", "--max-items", "5", "--dry-run", "--no-paginate"),
        *("--instance-ids", "i-1", "i-2"),
        *("--filters", '[{"Name": "tag:a", "Values": ["ü"]}]', "--empty", "[]"),
    ]


async def test_what_it_prints_becomes_outputs(aws):
    made, _ = await aws("s3api", "create-bucket", {"bucket": "aws-cli-test"})
    assert (made.status, made.outputs["Location"]) == ("completed", "/aws-cli-test"), made.error
    found, printed = await aws("s3api", "list-buckets", ["--query", "Buckets[].Name"])
    assert "aws-cli-test" in found.outputs["items"]
    assert json.loads(printed.stdout) == found.outputs["items"], "the log has it too"
    text, printed = await aws("s3", "ls", output="text")
    assert (text.status, dict(text.outputs)) == ("completed", {})
    assert "aws-cli-test" in printed.stdout
    nothing, _ = await aws("s3api", "delete-bucket", {"bucket": "aws-cli-test"})
    assert (nothing.status, dict(nothing.outputs)) == ("completed", {})


async def test_what_went_wrong_is_said_in_its_words(aws):
    missing, _ = await aws("s3api", "head-bucket", {"bucket": "no-such-bucket-here"})
    assert (missing.status, missing.reason) == ("failed", "upstream_error")
    assert "Not Found" in missing.error
    usage, _ = await aws("s3api", "no-such-operation")
    assert (usage.status, usage.reason) == ("failed", "invalid_arguments")
    keyless, _ = await aws("s3api", "list-buckets", env={})
    assert (keyless.status, keyless.reason) == ("failed", "credentials_missing"), keyless.error
    profile, _ = await aws("s3api", "list-buckets", profile="nobody", env={})
    assert (profile.status, profile.reason) == ("failed", "credentials_missing")
    assert "nobody" in profile.error
    once = KEYS | {"AWS_MAX_ATTEMPTS": "1"}
    nobody = AwsProgram(AWS, "http://127.0.0.1:9")
    nowhere, _ = await aws("sts", "get-caller-identity", env=once, reach=nobody)
    assert (nowhere.status, nowhere.reason) == ("failed", "connection_refused"), nowhere.error


@pytest.fixture
def broken():
    """Servers by what is wrong with them."""
    with ExitStack() as stack:
        failing = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Failing))
        threading.Thread(target=failing.serve_forever, daemon=True).start()
        stack.callback(failing.shutdown)
        silent, full = (stack.enter_context(socket.socket()) for _ in range(2))
        for listening, waiting in ((silent, 5), (full, 0)):
            listening.bind(("127.0.0.1", 0))
            listening.listen(waiting)
        for _ in range(3):  # nobody takes these, so that there is no room for others
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())
        yield {
            "failing": f"http://127.0.0.1:{failing.server_port}",
            "plain": f"https://127.0.0.1:{failing.server_port}",
            "silent": f"http://127.0.0.1:{silent.getsockname()[1]}",
            "full": f"http://127.0.0.1:{full.getsockname()[1]}",
        }


class Failing(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(500)
        self.end_headers()

    def log_message(self, *args):
        pass


@pytest.mark.breaks
async def test_servers_that_fail_and_are_silent(aws, broken):
    """Side by side: each takes a second."""
    expected = {
        "failing": ("upstream_error", "(500)"),
        "silent": ("upstream_timeout", "Read timeout"),
        "full": ("upstream_timeout", "Connect timeout"),
        "plain": ("tls_failed", "SSL validation failed"),
    }
    once = KEYS | {"AWS_MAX_ATTEMPTS": "1"}
    seconds = ["--cli-read-timeout", "1", "--cli-connect-timeout", "1"]
    calls = (
        aws("sts", "get-caller-identity", seconds, env=once, reach=AwsProgram(AWS, broken[server]))
        for server in expected
    )
    for (reason, said), (outcome, _) in zip(
        expected.values(), await asyncio.gather(*calls), strict=True
    ):
        assert (outcome.status, outcome.reason) == ("failed", reason), outcome.error
        assert said in outcome.error


async def test_json_is_asked_for_by_flag_which_no_configuration_overrules(aws, tmp_path):
    program = tmp_path / "aws-that-tells"
    program.write_text('#!/bin/sh\nprintf \'["%s"]\' "$*"\n')
    program.chmod(0o755)
    outcome, _ = await aws("sts", "get-caller-identity", ["--x"], reach=AwsProgram(str(program)))
    assert outcome.outputs == {"items": ["--output json sts get-caller-identity --x"]}


async def test_a_profile_of_the_working_directory(aws, tmp_path):
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/credentials").write_text(
        "[tester]\naws_access_key_id = testing\naws_secret_access_key = testing\n"
    )
    outcome, _ = await aws("sts", "get-caller-identity", profile="tester", env={})
    assert outcome.status == "completed", outcome.error
    assert outcome.outputs["Account"] == "123456789012"


async def test_secrets_stay_out_of_log_and_outputs(aws):
    outcome, printed = await aws(
        "sts", "get-caller-identity", ["--debug"], redactor=Redactor(KEYS.values())
    )
    assert outcome.status == "completed"
    assert "super-secret-key" not in printed.stdout + printed.stderr + str(outcome)


async def test_output_beyond_the_limit_is_no_json(aws):
    few = replace(Limits(), output_bytes=20)
    outcome, _ = await aws("sts", "get-caller-identity", limits=few)
    assert (outcome.status, outcome.reason) == ("failed", "invalid_output")


async def test_no_program_says_how_to_get_one(aws):
    outcome, _ = await aws("s3", "ls", reach=AwsProgram("no-aws-here"))
    assert (outcome.status, outcome.reason) == ("failed", "program_missing")
    assert "pip install awscli" in outcome.error


@pytest.mark.parametrize(
    "wrong", [{"service": ""}, {"operation": "--debug"}, {"region": "Mars"}, {"args": 5}]
)
async def test_wrong_arguments_start_nothing(aws, wrong, tmp_path):
    ctx, _ = a_context(tmp_path)
    arguments = {"service": "s3", "operation": "ls", **wrong}
    outcome = await COMMAND.execute(arguments, ctx)
    assert (outcome.status, outcome.reason) == ("failed", "invalid_arguments")
