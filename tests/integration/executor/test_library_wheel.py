"""`pip install cadenza` alone is enough to embed the engine: the wheel in a clean environment runs a plan."""

import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[3]
PACKAGES = ("services", "shared", "cli", "sandbox")

PROGRAM = """
import asyncio, sys
from services.executor.library import ExecutionConfig, ExecutionEngine

async def main():
    async with ExecutionEngine(ExecutionConfig.test()) as engine:
        plan = {"strategy": {"type": "dependency_graph", "dependencies": {"1": [0]}}, "commands": [
            {"command": {"type": "shell", "command": "echo first"}},
            {"command": {"type": "exec", "program": "echo", "args": ["second"]}}]}
        result = await engine.wait(await engine.execute_plan(plan), 20)
        print(result.status, *(r.stdout.strip() for r in result.results))
    heavy = {"aiokafka", "pymongo", "fastapi", "boto3", "httpx", "jsonschema_rs"}
    print(sorted(heavy & {name.split(".")[0] for name in sys.modules}))

asyncio.run(main())
"""


def run(*command, **options):
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        **options,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built from a copy: building leaves folders behind."""
    source = tmp_path_factory.mktemp("source")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    (source / "README.md").touch()
    out = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", out, source)
    return next(out.glob("*.whl"))


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_the_wheel_with_its_base_dependencies_runs_a_plan(wheel, tmp_path):
    run(sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip())
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel)
    requires = next(site.glob("cadenza-*.dist-info")) / "METADATA"
    for line in requires.read_text().splitlines():
        if line.startswith("Requires-Dist: ") and "extra ==" not in line:
            copy_distribution(line.removeprefix("Requires-Dist: "), site)
    environment = {"PATH": os.defpath, "TMPDIR": str(tmp_path), "HOME": str(tmp_path)}
    out = run(python, "-W", "error", "-c", PROGRAM, cwd=tmp_path, env=environment)
    assert out == "completed first second\n[]\n"
    assert (site / "shared" / "plans" / "command_types.json").exists(), (
        "the schemas are in the wheel"
    )


def copy_distribution(requirement: str, site: Path) -> None:
    """Take an installed distribution, and what it needs, into another environment: no network, exact versions."""
    wanted = Requirement(requirement)
    if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
        return
    distribution = metadata.distribution(wanted.name)
    for file in distribution.files or ():
        if ".." in file.parts or "__pycache__" in file.parts:
            continue
        target = site / file
        if not target.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(str(distribution.locate_file(file)), target)
    for line in distribution.requires or ():
        copy_distribution(line, site)
