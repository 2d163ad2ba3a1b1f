"""Steps that leave what nobody expects: it is kept faithfully or refused in words, and changes no result."""

import asyncio

import pytest

from tests.unit.executor.bench import Bench, shell

DEEP = """python3 -c 'import os
for _ in range(1500): os.mkdir("d" * 20); os.chdir("d" * 20)'"""

pytestmark = pytest.mark.breaks


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (r"a\nb", r'"a\nb"'),
        (r"\033[31mred", r'"\u001b[31mred"'),
        (r"caf\xe9", r'"caf\udce9"'),
        (r"del\x7f", r'"del\u007f"'),
    ],
)
async def test_an_artifact_whose_name_no_object_may_have_is_refused_in_the_log(bench, name, shown):
    command = f"""echo x > "$CADENZA_ARTIFACTS/"$'{name}'; echo y > $CADENZA_ARTIFACTS/good"""
    journal = await bench.run(shell(command, "a"))
    assert journal.end_of("a").status == "completed"
    assert [a.name for a in journal.artifacts] == ["good"]
    said = journal.text_of("a", "system")
    assert said.startswith(f"artifact {shown} was not kept: an object key")
    assert said.isascii()
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("name", ["a b%0A", "\u202eevil", "c1\u0085", "ö/ü/€.txt", "x" * 255])
async def test_any_other_name_is_kept_to_the_letter(bench, name):
    folder = name.rpartition("/")[0]
    command = f"mkdir -p $CADENZA_ARTIFACTS/'{folder}'; echo x > $CADENZA_ARTIFACTS/'{name}'"
    journal = await bench.run(shell(command, "a"))
    (artifact,) = journal.artifacts
    assert artifact.name == name
    assert await bench.objects.get(bench.objects.key_of(artifact.uri)) == b"x\n"


async def test_what_is_no_file_is_refused_in_the_log(bench):
    command = """
        cd $CADENZA_ARTIFACTS
        mkfifo pipe; ln -s /etc/passwd out; ln -s nowhere broken; ln -s loop loop; ln -s good alias
        echo x > good; ln good hard; mkdir empty
        python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind("sock")'
    """
    journal = await asyncio.wait_for(bench.run(shell(command, "a")), 30)
    assert journal.end_of("a").status == "completed"
    assert sorted(a.name for a in journal.artifacts) == ["good", "hard"]
    assert sorted(journal.text_of("a", "system").splitlines()) == [
        'artifact "broken" was not kept: it is not a regular file',
        'artifact "loop" was not kept: it leads nowhere',
        'artifact "out" was not kept: it leads out of its folder',
        'artifact "pipe" was not kept: it is not a regular file',
        'artifact "sock" was not kept: it is not a regular file',
    ]


async def test_a_huge_file_with_holes_is_refused_and_the_others_are_kept(tmp_path):
    bench = Bench(tmp_path, max_artifacts=1000)
    command = (
        "cd $CADENZA_ARTIFACTS; truncate -s 1T a-huge; echo x > b; truncate -s 998 c; echo > d"
    )
    journal = await asyncio.wait_for(bench.run(shell(command, "a")), 30)
    assert [a.name for a in journal.artifacts] == ["b", "c"]
    assert journal.text_of("a", "system").splitlines() == [
        'artifact "a-huge" was not kept: it is too large (1099511627776 bytes, 1000 left)',
        'artifact "d" was not kept: it is too large (1 bytes, 0 left)',
    ]


async def test_a_thousand_files_are_kept_and_complaints_are_counted(bench):
    command = "cd $CADENZA_ARTIFACTS; touch $(seq 1 1005); for n in $(seq 30); do mkfifo p$n; done"
    journal = await bench.run(shell(command, "a"))
    assert len([a for a in journal.artifacts if a.type == "data"]) == 1000
    said = journal.text_of("a", "system").splitlines()
    assert len(said) == 21
    assert said[-1] == "11 more artifacts were not kept"


async def test_a_file_named_like_the_platforms_own_is_another_object(bench):
    command = "echo mine > $CADENZA_ARTIFACTS/output.log; seq 1 2000"
    journal = await bench.run(shell(command, "a"))
    texts = [await bench.objects.get(a.key) for a in journal.artifacts]
    assert [a.name for a in journal.artifacts] == ["output.log"] * 2
    assert texts == [b"mine\n", "".join(f"{n}\n" for n in range(1, 2001)).encode()]


@pytest.mark.parametrize(
    "command",
    [
        "mkfifo $CADENZA_OUTPUT",
        "mkdir $CADENZA_OUTPUT",
        "ln -s /proc/self/environ $CADENZA_OUTPUT",
        "truncate -s 1G $CADENZA_OUTPUT",
        "mknod $CADENZA_OUTPUT c 1 5 || mkdir $CADENZA_OUTPUT",
        "chmod 0 $CADENZA_OUTPUT 2>/dev/null; ln -s $CADENZA_OUTPUT $CADENZA_OUTPUT",
    ],
)
async def test_an_output_file_that_is_none_is_an_invalid_output(bench, command):
    journal = await asyncio.wait_for(bench.run(shell(command, "a")), 30)
    assert (journal.end_of("a").status, journal.end_of("a").reason) == ("failed", "invalid_output")


@pytest.mark.parametrize(
    "command",
    [
        "rm -rf $HOME",
        "rm -rf $HOME $HOME/../*",
        "rm -rf $HOME; ln -s /nowhere $HOME",
        "rm -rf $HOME; touch $HOME",
        "mkdir -p d/e/f; touch d/e/f/g; chmod -R 0 d",
        "cd /; d=$(dirname $HOME); rm -rf $d; ln -s {outside} $d",
        "mkdir $HOME/$(printf 'caf\\351'); touch $HOME/$(printf '\\n\\033')",
        f"cd $CADENZA_ARTIFACTS; {DEEP}; cd $HOME; {DEEP}",
    ],
)
async def test_no_folder_is_left_whatever_a_step_does_to_its_own(bench, tmp_path, command):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").touch()
    journal = await bench.run(
        shell(command.replace("{outside}", str(tmp_path / "outside")), "a"), shell("true", "b")
    )
    assert journal.end_of("a").status == "completed", journal.ends
    assert journal.ended is not None
    assert list(bench.workspace.root.iterdir()) == []
    assert (tmp_path / "outside/kept").exists()


async def test_log_lines_are_kept_to_the_letter(bench):
    text = r"\033[31mred\033[0m \033]0;title\007 \a\b\r\n nul:\0 \u202ebidi\u2066 \x9b \n"
    journal = await bench.run(shell(f"printf '{text}'; printf 'bad:\\xff\\xfe\\n' >&2", "a"))
    assert journal.text_of("a") == (
        "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x07\x08\r\n nul:\0 \u202ebidi\u2066 \ufffd \n"
    )
    assert journal.text_of("a", "stderr") == "bad:\ufffd\ufffd\n"
