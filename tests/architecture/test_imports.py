"""The import rules: contracts of import-linter (`.importlinter`), and each driver only in its own place."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLACES = {
    "pymongo": (
        "shared/mongo",
        "shared/work",
        "shared/objects",
        "services/*/repository",
        "sandbox/mongo.py",
        "sandbox/chaos",
    ),
    "boto3": ("shared/objects/s3.py", "services/*/aws"),
    "botocore": ("shared/objects/s3.py", "services/*/aws"),
    "httpx": ("shared/http", "services/*/clients", "cli/client.py"),
    "aiohttp": ("shared/http", "services/*/clients"),
    "faststream": ("shared/kafka", "services/*/consumers", "services/*/bootstrap.py"),
    "aiokafka": ("shared/kafka", "sandbox/chaos"),
    "fastapi": ("shared/web", "services/*/routes", "services/*/bootstrap.py"),
    "uvicorn": ("shared/web", "sandbox/virtuoso"),
    "structlog": ("shared", "services", "sandbox"),
    "typer": ("cli",),
    "playwright": ("services/executor/programs/browser",),
}
"""Driver → where it may be imported; `*` stands for any service."""


def test_every_import_contract_is_kept():
    result = subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("driver", PLACES)
def test_a_driver_is_imported_from_its_own_place_only(driver: str):
    strays = [
        str(path)
        for path, module in imports()
        if module == driver and not any(within(path, place) for place in PLACES[driver])
    ]
    assert strays == []


def within(path: Path, place: str) -> bool:
    """True for the file itself, anything below the folder, and `repository.py` for `repository`."""
    wanted = Path(place).parts
    return len(path.parts) >= len(wanted) and all(
        pattern in ("*", part, Path(part).stem)
        for pattern, part in zip(wanted, path.parts, strict=False)
    )


def imports() -> Iterator[tuple[Path, str]]:
    for top in ("shared", "services", "cli", "sandbox"):
        for path in sorted((ROOT / top).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                names = []
                if isinstance(node, ast.Import):
                    names = [alias.name for alias in node.names]
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names = [node.module]
                for name in names:
                    yield path.relative_to(ROOT), name.split(".")[0]
