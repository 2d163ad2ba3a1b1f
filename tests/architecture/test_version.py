"""One version, wherever it is told."""

import tomllib
from pathlib import Path

import yaml

from shared.service import VERSION

ROOT = Path(__file__).resolve().parents[2]


def test_code_package_and_chart_agree():
    package = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    chart = yaml.safe_load((ROOT / "deploy/helm/cadenza/Chart.yaml").read_text())
    assert VERSION == package == chart["appVersion"] == chart["version"]
