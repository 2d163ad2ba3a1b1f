"""The deployment files: the chart renders to valid Kubernetes objects, Compose names real settings, times fit.

Helm is taken from PATH or the cache folder, and built once from its Go module where Go is installed.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from cli.reference import render
from sandbox.settings import SandboxSettings
from services.executor.settings import ExecutorGroup, ExecutorSettings

ROOT = Path(__file__).resolve().parents[2]
CHART = ROOT / "deploy/helm/cadenza"
SERVICES = ("gateway", "executor", "extractor", "proxy", "scanner")
HELM = "helm.sh/helm/v3/cmd/helm@v3.22.0"


@pytest.fixture(scope="session")
def helm() -> str:
    cached = SandboxSettings().cache / "bin" / "helm"
    if found := shutil.which("helm") or (cached.exists() and str(cached)):
        return found
    if go := shutil.which("go"):
        cached.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            [go, "install", HELM],
            env={**os.environ, "GOBIN": str(cached.parent)},
            check=True,
            timeout=600,
        )
        return str(cached)
    reason = f"neither helm nor go is installed; with Go: go install {HELM}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def rendered(helm: str) -> str:
    result = subprocess.run(
        [helm, "template", "demo", str(CHART), "--set", "ingress.enabled=true"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.mark.timeout(700)
def test_the_chart_lints(helm: str):
    result = subprocess.run(
        [helm, "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_object_is_valid_kubernetes(rendered: str, tmp_path: Path):
    (tmp_path / "all.yaml").write_text(rendered)
    result = subprocess.run(
        [
            str(Path(sys.executable).parent / "kubernetes-validate"),
            "--strict",
            str(tmp_path / "all.yaml"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_chart_has_one_deployment_per_service_with_probes_and_limits(rendered: str):
    deployments = {
        doc["metadata"]["name"]: doc["spec"]["template"]["spec"]
        for doc in yaml.safe_load_all(rendered)
        if doc and doc["kind"] == "Deployment"
    }
    assert set(deployments) == {f"demo-{service}" for service in SERVICES}
    for spec in deployments.values():
        (container,) = spec["containers"]
        assert container["livenessProbe"]["httpGet"]["path"] == "/health"
        assert container["readinessProbe"]["httpGet"]["path"] == "/health/ready"
        assert container["resources"]["limits"]["memory"]
        assert container["ports"][0]["containerPort"] == 8000


def test_there_is_time_to_drain():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    assert (
        values["terminationGracePeriodSeconds"]
        > values["preStopSeconds"] + values["drainSeconds"] + 10
    )


def test_a_mistyped_value_is_refused(helm: str):
    result = subprocess.run(
        [helm, "template", "demo", str(CHART), "--set", "services.gateway.replica=2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "replica" in result.stderr


def test_deployments_set_only_settings_that_exist(rendered: str):
    known = set(re.findall(r"^#?([A-Z_]+)=", render(), re.MULTILINE))
    for text in (rendered, (ROOT / "docker-compose.yml").read_text()):
        used = set(re.findall(r"\b[A-Z]+__[A-Z_]+\b", text))
        assert used <= known, f"unknown settings: {sorted(used - known)}"


def test_compose_runs_every_service_on_real_parts():
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert set(SERVICES) | {"kafka", "mongo", "objects", "migrate"} == set(compose["services"])
    for service in SERVICES:
        assert compose["services"][service]["build"]["args"]["SERVICE"] == service


EXECUTOR_KNOBS = {
    f"EXECUTOR__{name}"
    for name in ("LABELS", "RUN_SLOTS", "PROCESS_LIMIT", "BROWSER_PATH", "BROWSER_ALLOWED_HOSTS",
                 "HTTP_ALLOWED_NETWORKS")
}  # fmt: skip


def test_what_an_executor_offers_can_be_set_everywhere_and_the_defaults_are_settings(
    rendered: str,
):
    """As written there, they make settings; a label is one's own to add."""
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["executor"]
    written = {
        name: re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", str(value))
        for name, value in compose["environment"].items()
        if name in EXECUTOR_KNOBS
    }
    assert compose["build"]["args"]["BROWSER"] == "${WITH_BROWSER:-no}"
    (helm,) = [
        doc["spec"]["template"]["spec"]["containers"][0]["env"]
        for doc in yaml.safe_load_all(rendered)
        if doc and doc["kind"] == "Deployment" and doc["metadata"]["name"] == "demo-executor"
    ]
    in_helm = {one["name"]: one["value"] for one in helm if one["name"] in EXECUTOR_KNOBS}
    for values in (written, in_helm):
        assert set(values) == EXECUTOR_KNOBS
        made = _executor_settings(values)
        assert made == ExecutorGroup(
            inherited=made.inherited, host_id=made.host_id, browser_path=""
        )


def _executor_settings(values: dict[str, str]) -> ExecutorGroup:
    with pytest.MonkeyPatch.context() as patch:
        for name in [one for one in os.environ if one.startswith("EXECUTOR__")]:
            patch.delenv(name)
        for name, value in values.items():
            patch.setenv(name, value)
        return ExecutorSettings().executor


def test_the_image_holds_what_services_import():
    copied = re.findall(
        r"^COPY (\w+)", (ROOT / "deploy/docker/Dockerfile").read_text(), re.MULTILINE
    )
    assert {"shared", "services", "cli", "sandbox"} <= set(copied)
