"""The engine's JSON comes out as it went in."""

import json

import pytest
from pydantic import ValidationError

from services.executor.library import (
    DependencyGraphStrategy,
    ExecutionPlan,
    ExecutionRequest,
    ExecutionResult,
    ExecutionSummary,
)
from services.executor.library.models import format_duration, parse_duration

ID = "0b8f6d0e-53d5-4a4e-9b0e-5f6d1f0c7a11"

# The samples of the engine's documentation; `uuid` stands for an id there.
REQUEST = """
{
  "id": "uuid",
  "command": { "type": "aws_cli", "service": "ec2", "operation": "describe-instances" },
  "env": { "AWS_PROFILE": "prod" },
  "working_dir": null,
  "timeout_ms": 120000,
  "metadata": { "source": "server", "conversation_id": "uuid" }
}
"""
RESULT = """
{
  "id": "uuid",
  "status": "completed",
  "exit_code": 0,
  "stdout": "...",
  "stderr": "",
  "duration": "2.5s",
  "started_at": "2025-10-09T10:30:00Z",
  "completed_at": "2025-10-09T10:30:02Z",
  "log_path": "/tmp/cloudops-executions/{uuid}.log"
}
"""


def test_the_documented_request_round_trips():
    sample = json.loads(REQUEST.replace('"uuid"', f'"{ID}"'))
    request = ExecutionRequest.from_json(sample)
    assert request.to_json() == sample
    assert request.timeout_ms == 120_000
    assert request.metadata.source == "server"


def test_the_documented_result_round_trips():
    sample = json.loads(RESULT.replace('"uuid"', f'"{ID}"').replace("{uuid}", ID))
    result = ExecutionResult.from_json(sample)
    assert result.to_json() == sample
    assert result.duration == 2.5


def test_made_ids_and_tags_of_variants_are_in_the_json():
    plan = ExecutionPlan(
        strategy=DependencyGraphStrategy(dependencies={1: [0]}),
        commands=[ExecutionRequest(command={"type": "noop"})] * 2,
    )
    raw = json.loads(json.dumps(plan.to_json()))
    assert raw["strategy"] == {"type": "dependency_graph", "dependencies": {"1": [0]}}
    assert raw["id"] == plan.id
    assert ExecutionPlan.from_json(raw) == plan


@pytest.mark.parametrize(("seconds", "text"), [(2.5, "2.5s"), (0, "0s"), (45.32, "45.32s"), (3600, "3600s"), (0.0014, "0.001s"), (10, "10s")])  # fmt: skip
def test_one_form_of_duration(seconds, text):
    assert format_duration(seconds) == text
    assert parse_duration(text) == pytest.approx(seconds, abs=0.001)


def test_other_durations_are_refused():
    with pytest.raises(ValidationError):
        ExecutionSummary(
            id=ID, status="completed", started_at="2025-10-09T10:30:00Z", duration="2s 500ms"
        )


def test_unknown_fields_and_naive_times_are_refused():
    with pytest.raises(ValidationError):
        ExecutionRequest.from_json({"command": {"type": "noop"}, "timeout": 5})
    with pytest.raises(ValidationError):
        ExecutionSummary(id=ID, status="completed", started_at="2025-10-09T10:30:00")
