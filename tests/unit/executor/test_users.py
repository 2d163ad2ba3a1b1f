"""Steps as other users: what they need works, what is not theirs they can neither read nor end."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from services.executor.processes.users import StepUsers
from tests.unit.executor.bench import Bench, shell

UIDS = (61_001, 61_002)
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root may start steps as others")


@pytest.fixture
def bench():
    """In a folder that others may find: pytest's own are closed."""
    folder = Path(tempfile.mkdtemp(prefix="cadenza-users-"))
    folder.chmod(0o711)
    yield Bench(folder, users=StepUsers(UIDS))
    shutil.rmtree(folder)


def a_script(source: str, **more):
    return {"name": "script", "command": {"type": "script", "source": source}, **more}


def test_the_least_used_is_lent():
    users = StepUsers(UIDS)
    assert [users.lend() for _ in range(3)] == [61_001, 61_002, 61_001]
    users.give_back(61_002)
    assert users.lend() == 61_002
    assert StepUsers().lend() is None


async def test_all_that_a_step_may_do_works_as_another_user(bench):
    journal = await bench.run(
        shell(
            "id -u; id -G; echo work > file; echo '{\"v\": 1}' >> $CADENZA_OUTPUT; seq 1 2000;"
            "mkdir $CADENZA_ARTIFACTS/d; echo x > $CADENZA_ARTIFACTS/d/a; chmod 0 $CADENZA_ARTIFACTS/d/a",
            "a",
            artifacts=[{"path": "file"}],
        ),
        a_script("#!/bin/sh\necho ${{ steps.a.outputs.v }} $(cat file) $(id -u)"),
    )
    assert journal.ended.status == "completed", journal.ends
    assert journal.text_of("a").splitlines()[:2] == ["61001", "61001"]
    assert journal.text_of("script") == "1 work 61001\n"
    contents = {a.name: await bench.objects.get(a.key) for a in journal.artifacts}
    assert set(contents) == {"file", "d/a", "output.log"}
    assert (contents["file"], contents["d/a"]) == (b"work\n", b"x\n")
    assert list(bench.workspace.root.iterdir()) == []


@pytest.mark.breaks
@pytest.mark.parametrize(
    "command",
    [
        "cat /proc/{pid}/environ",
        "cat /proc/{pid}/fd/0 /proc/{pid}/maps",
        "kill -0 {pid}",
        "ls {root}",
        "ls {others}",
        "cat {others}/work/file",
        "mv $HOME $HOME.away",
        "rm -rf $(dirname $HOME)/*.log; ln -s /etc/passwd $(dirname $CADENZA_OUTPUT).log",
    ],
)
async def test_what_is_not_the_steps_own_is_closed(bench, command):
    await bench.workspace.start()
    others = bench.workspace.folder_of("other", 1)
    (others / "work").mkdir(parents=True)
    (others / "work/file").write_text("private")
    os.chown(others, -1, UIDS[1])
    others.chmod(0o710)
    text = command.format(pid=os.getpid(), root=bench.workspace.root, others=others)
    journal = await bench.run(shell(text, "a"))
    assert journal.end_of("a").status == "failed"
    assert journal.end_of("a").reason == "nonzero_exit"
    assert journal.text_of("a") == ""


@pytest.mark.breaks
async def test_a_link_to_a_file_of_ours_is_no_artifact(bench):
    private = bench.tmp_path / "private"
    private.write_text("private")
    command = f"ln {private} $CADENZA_ARTIFACTS/hard; echo mine > $CADENZA_ARTIFACTS/mine"
    journal = await bench.run(shell(f"{command}; true", "a"))
    assert [a.name for a in journal.artifacts] == ["mine"]


async def test_a_file_that_became_another_between_finding_and_reading_is_refused(tmp_path):
    from services.executor.artifacts import Findings, Found, take

    (tmp_path / "ours").write_text("private")
    (tmp_path / "link").symlink_to(tmp_path / "ours")
    (tmp_path / "theirs").write_text("x")
    for name in ("link", "theirs"):
        os.chown(tmp_path / name, UIDS[0], UIDS[0], follow_symlinks=False)
    names = ("ours", "theirs", "gone", "link")
    found = Findings([Found(tmp_path / name, name, "data") for name in names], [])
    taken = take(found, tmp_path / "taken", UIDS[0])
    assert [file.name for file in taken.files] == ["theirs", "link"]
    assert len(taken.complaints) == 2
    assert taken.files[1].path.is_symlink(), "the store follows no link"


async def test_reports_that_nobody_named_count(bench):
    """They are looked at out of the step's reach, where they have other names."""
    case = '<testsuite><testcase name="{}"/></testsuite>'
    source = (
        f"echo '{case.format('a')}' > report.xml; : > $CADENZA_ARTIFACTS/report.xml;"
        f"mkdir out; echo '{case.format('b')}' > out/TEST-b.xml; echo '<html/>' > out/report.xml;"
        "ln -s /etc/passwd junit.xml; ln /etc/hostname out/junit.xml 2> /dev/null; true"
    )
    journal = await bench.run(shell(source))
    assert journal.end_of("one").status == "completed"
    assert {case.name for case in journal.reported[1, "1.1"]} == {"a", "b"}
    kept = {artifact.name for artifact in journal.artifacts}
    assert kept == {"report.xml", "working-dir/report.xml", "out/TEST-b.xml"}
