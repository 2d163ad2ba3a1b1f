"""What a kept file is, by its name."""

import pytest

from services.executor.artifact_types import type_of
from services.executor.artifacts import find
from shared.plans.plan import ArtifactRule


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("failure-02.png", "screenshot"),
        ("elements/el_1.PNG", "screenshot"),
        ("video-1.webm", "video"),
        ("trace.zip", "trace"),
        ("runs/trace-2.zip", "trace"),
        ("junit.xml", "report"),
        ("out/report.html", "report"),
        ("server.log", "log"),
        ("archive.zip", "data"),
        ("notes.txt", "data"),
        ("png", "data"),
    ],
)
def test_type_of(name, kind):
    assert type_of(name) == kind


def test_a_plans_own_rule_wins(tmp_path):
    work, kept = tmp_path / "work", tmp_path / "artifacts"
    for folder in (work, kept):
        folder.mkdir()
        (folder / "a.png").write_text("x")
    found = find([ArtifactRule(path="*.png", type="code")], work, kept, max_bytes=100)
    assert [(file.name, file.type) for file in found.files] == [
        ("a.png", "code"),
        ("a.png", "screenshot"),
    ]
