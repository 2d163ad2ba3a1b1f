"""The body of `POST /execute`: test sets in the form that 7PS expects (version 2).

`testConfiguration` is a YAML document *as a string*; values and names of the test sets go into it once more, beside
the request's own `args`, because 7PS hands them to each set as environment variables. Secrets go into `secrets`
alone: never into the document, which 7PS may log.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import yaml

VERSION = 2
ARGUMENTS = ("BASE_URL", "DB_HOST", "DB_NAME", "DB_PORT")
"""What the suites cannot do without, beside the secrets."""
SECRETS = ("DB_USER", "DB_PASSWORD")
OURS = ("RELEASE_ID", "TEST_SET_ID")
"""Arguments that come from the plan's own fields."""
COMMANDS = ("npm ci", "npx playwright install --with-deps chromium", "npm test")

TestType = Literal["live_dependency_tests", "component_tests"]


@dataclass(frozen=True, slots=True)
class Set:
    """One test set."""

    id: str
    name: str
    commands: Sequence[str] = COMMANDS
    working_directory: str = "."
    artifacts: Sequence[str] = ()
    disabled: bool = False
    args: Mapping[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """All that a request says. `secrets` are values: this is never stored."""

    test_type: TestType
    environment: str
    release: str
    sets: Sequence[Set]
    args: Mapping[str, str]
    secrets: Mapping[str, str]
    suite: Mapping[str, str]
    """`name, asv, ba, component, owner`."""
    repo_url: str = ""
    repo_path: str = "."
    repo_branch: str = "main"
    commit_sha: str = ""
    build_id: str = ""
    artifact_id: str = ""


def missing(order: Order) -> list[str]:
    """Names of arguments and secrets that no suite starts without and that have no value."""
    found = [f"args.{name}" for name in ARGUMENTS if not order.args.get(name, "").strip()]
    return found + [f"secrets.{name}" for name in SECRETS if not order.secrets.get(name, "")]


def build(order: Order) -> dict[str, Any]:
    """The request, as JSON."""
    return {
        "testType": order.test_type,
        "environment": order.environment,
        "buildId": order.build_id,
        "artifactId": order.artifact_id,
        "repoUrl": order.repo_url,
        "commitSha": order.commit_sha,
        "testConfiguration": configuration(order),
        "args": _request_args(order),
        "secrets": dict(order.secrets),
        "version": VERSION,
    }


def configuration(order: Order) -> str:
    """The YAML document; every value in it is a text, a list or a truth."""
    document = {
        **{key: order.suite.get(key, "") for key in ("name", "asv", "ba", "component", "owner")},
        "test_location": {"repo_path": order.repo_path, "repo_branch": order.repo_branch},
        order.test_type: [
            {
                "environment": order.environment,
                "args": dict(order.args),
                "testSets": [_test_set(order, one) for one in order.sets],
            }
        ],
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=10_000)


def arguments_of(order: Order, one: Set) -> dict[str, str]:
    """What a set finds in its environment, secrets apart."""
    return {
        "NODE_ENV": "test",
        "CI": "true",
        **order.args,
        **(one.args or {}),
        "RELEASE_ID": order.release,
        "TEST_SET_ID": one.id,
    }


def _request_args(order: Order) -> dict[str, str]:
    """Of a request with several sets each set names itself; without `TEST_SET_ID` a suite would run them all."""
    args = {**order.args, "RELEASE_ID": order.release}
    if len(order.sets) == 1:
        args["TEST_SET_ID"] = order.sets[0].id
    return args


def _test_set(order: Order, one: Set) -> dict[str, Any]:
    return {
        "testSetName": one.name,
        "testType": order.test_type.removesuffix("_tests"),
        "testAgentType": "nodejs",
        "testAgentRuntimeVersion": "22",
        "testFramework": "playwright",
        "testReportingType": "cucumber",
        "testRunner": "npm",
        "workingDirectory": one.working_directory,
        "testReportLocation": "./report",
        "testSetDisabled": one.disabled,
        "testAgentExecutionCommands": list(one.commands),
        "testArtifactLocations": list(one.artifacts),
        "args": arguments_of(order, one),
    }
