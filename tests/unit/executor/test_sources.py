"""Sources of plans: real git, real archives, real processes; only the journal is a fake."""

import asyncio
import base64
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from pydantic import SecretStr

from services.executor.processes.runner import LocalProcessRunner
from services.executor.processes.users import StepUsers
from services.executor.sources.bringing import Sources
from services.executor.sources.cache import PackCache
from services.executor.sources.options import GitOptions, Size, SourceOptions
from shared.errors import StorageUnavailable
from shared.objects.local import LocalStore
from shared.security.secrets import SettingsSecrets
from shared.views.uploads import StoredUpload
from tests.unit.executor.bench import Bench, shell

MIB = 1024 * 1024


class FakeUploads:
    """Uploads of the tenant `acme`, as the gateway would keep them."""

    def __init__(self, objects):
        self.objects = objects
        self.known = {}
        self.away = 0

    async def add(self, data, sha256):
        info = await self.objects.put(f"acme/uploads/{sha256}", data)
        self.known["acme", sha256] = StoredUpload(sha256=sha256, size_bytes=len(data), uri=info.uri)

    async def find(self, tenant, sha256):
        if self.away:
            self.away -= 1
            raise StorageUnavailable("away")
        return self.known.get((tenant, sha256))


class Ground:
    """A bench whose executor brings sources."""

    def __init__(self, tmp_path, *, room=None, timeout=60.0, most_bytes=64 * MIB, **git):
        self.tmp_path = tmp_path
        self.cache_dir = tmp_path / "work" / "sources"
        self.objects = LocalStore(tmp_path / "objects")
        self.uploads = FakeUploads(self.objects)
        options = {"protocols": ("file", "http", "ssh"), "attempts": 2, "pause_seconds": 0.01}
        self.room = room or Size(bytes=8 * MIB, files=1_000)
        self.sources = Sources(
            PackCache(self.cache_dir, key=b"k" * 32, most_bytes=most_bytes),
            uploads=self.uploads,
            objects=self.objects,
            processes=LocalProcessRunner(grace_seconds=0.3, sample_seconds=1),
            options=SourceOptions(
                room=self.room,
                timeout=timeout,
                git=GitOptions(**options | git),
                inherited={"PATH": os.environ["PATH"]},
            ),
        )
        self.count = 0

    async def run(self, *steps, sources, secret="a-secret", **plan):
        bench = self.bench(secrets=SettingsSecrets({"acme": {"git": SecretStr(secret)}}))
        return await bench.run(*steps, sources=sources, **plan)

    def bench(self, **parts):
        self.count += 1
        return Bench(self.tmp_path / f"bench-{self.count}", sources=self.sources, **parts)

    def packs(self):
        return sorted(self.cache_dir.glob("*.pack"))


@pytest.fixture
def ground(tmp_path):
    return Ground(tmp_path)


def git(*arguments, cwd):
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(cwd),
        "GIT_CONFIG_NOSYSTEM": "1",
        **{
            f"GIT_{who}_{what}": "t@example.com"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        },
    }
    done = subprocess.run(
        ["git", *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


class Repository:
    """A real one on disk."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        git("init", "--quiet", "-b", "main", cwd=folder)
        self.first = self.commit(
            {
                "README.md": "first\n",
                "suites/smoke/test.sh": "#!/bin/sh\necho smoke\n",
                "tests/a": "a",
            }
        )

    @property
    def url(self):
        return f"file://{self.folder}"

    def commit(self, files, message="a commit"):
        for name, text in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            if text.startswith("#!"):
                path.chmod(0o755)
        git("add", "-A", cwd=self.folder)
        git("commit", "--quiet", "--allow-empty", "-m", message, cwd=self.folder)
        return git("rev-parse", "HEAD", cwd=self.folder)


@pytest.fixture
def repository(tmp_path):
    return Repository(tmp_path / "repository")


def from_git(repository, **more):
    return {"type": "git", "url": repository.url, **more}


async def test_a_branch_is_brought_and_its_commit_recorded(ground, repository):
    journal = await ground.run(
        shell("cat README.md; suites/smoke/test.sh; test ! -e .git && echo clean", "a"),
        sources=[from_git(repository, ref="main")],
    )
    assert journal.ended.status == "completed", journal.ended
    assert journal.text_of("a") == "first\nsmoke\nclean\n"
    assert journal.resolved == [
        {
            "type": "git", "mount": ".", "url": repository.url, "ref": "main", "path": None,
            "commit": repository.first,
        }
    ]  # fmt: skip


async def test_branches_tags_commits_folders_and_mounts(ground, repository):
    git("tag", "-a", "v1", "-m", "one", cwd=repository.folder)
    second = repository.commit({"README.md": "second\n", ".gitattributes": "tests export-ignore\n"})
    git("checkout", "--quiet", "-b", "feature/x", cwd=repository.folder)
    third = repository.commit({"README.md": "third\n"})
    sources = [
        from_git(repository, ref="v1", mount="tag"),
        from_git(repository, ref=second, mount="commit"),
        from_git(repository, ref="feature/x", mount="deep/er/branch"),
        from_git(repository, path="suites/smoke", mount="part"),
        from_git(repository, ref="${{ inputs.ref }}", mount="given"),
    ]
    journal = await ground.run(
        shell("cat tag/README.md commit/README.md deep/er/branch/README.md given/README.md", "a"),
        shell("ls part; cat commit/tests/a; ls", "b"),
        sources=sources,
        inputs={"ref": "refs/heads/main"},
    )
    assert journal.text_of("a") == "first\nsecond\nthird\nsecond\n"
    assert journal.text_of("b") == "test.sh\nacommit\ndeep\ngiven\npart\ntag\n"
    commits = [record["commit"] for record in journal.resolved]
    assert commits == [repository.first, second, third, third, second]


async def test_what_a_later_push_brings_is_seen_and_the_rest_comes_from_the_cache(
    ground, repository
):
    plan = {"sources": [from_git(repository, ref="main")]}
    await ground.run(shell("true"), **plan)
    (pack,) = ground.packs()
    written = pack.stat().st_ino
    journal = await ground.run(shell("cat README.md", "a"), **plan)
    assert journal.text_of("a") == "first\n"
    assert [one.stat().st_ino for one in ground.packs()] == [written]
    repository.commit({"README.md": "pushed\n"})
    journal = await ground.run(shell("cat README.md", "a"), **plan)
    assert journal.text_of("a") == "pushed\n"
    assert len(ground.packs()) == 2


async def test_a_recovered_run_goes_on_with_the_commit_it_began_with(ground, repository):
    repository.commit({"README.md": "pushed\n"})
    bench = ground.bench()
    await bench.workspace.start()
    record = {"type": "git", "mount": ".", "commit": repository.first}
    plan = {"name": "p", "steps": [shell("cat README.md", "a")], "sources": [from_git(repository)]}
    await bench.executor.run(bench.claim(plan, sources=[record]))
    assert bench.journal.text_of("a") == "first\n"
    assert bench.journal.resolved == []


async def test_a_step_alters_neither_the_cache_nor_what_a_later_run_gets(ground, repository):
    plan = {
        "sources": [from_git(repository), {"type": "inline", "files": {"x": "1"}, "mount": "i"}]
    }
    attack = (
        "chmod -R u+w . ; echo bad > README.md; echo bad > suites/smoke/test.sh; echo bad >> i/x; "
        f"chmod -R u+w {ground.cache_dir}; for f in {ground.cache_dir}/*.pack; do "
        "printf bad | dd of=$f bs=1 seek=60 conv=notrunc 2>/dev/null; done; cat README.md"
    )
    journal = await ground.run(shell(attack, "a"), **plan)
    assert journal.text_of("a") == "bad\n"
    journal = await ground.run(shell("cat README.md i/x; suites/smoke/test.sh", "a"), **plan)
    assert journal.text_of("a") == "first\n1smoke\n"


@pytest.mark.parametrize("damage", [b"", b"short", b"CDZPACK1" + bytes(500)])
async def test_a_pack_that_is_none_counts_as_not_there(ground, repository, damage):
    plan = {"sources": [from_git(repository)]}
    await ground.run(shell("true"), **plan)
    ground.packs()[0].write_bytes(damage)
    journal = await ground.run(shell("cat README.md", "a"), **plan)
    assert journal.text_of("a") == "first\n", journal.ended


async def test_files_are_read_only_unless_the_source_says_writable(ground, repository):
    sources = [from_git(repository, mount="ro"), from_git(repository, mount="rw", writable=True)]
    journal = await ground.run(
        shell("stat -c '%a %n' ro ro/README.md ro/suites ro/suites/smoke/test.sh", "a"),
        shell(
            "stat -c '%a %n' rw rw/README.md rw/suites rw/suites/smoke/test.sh; echo > rw/new", "b"
        ),
        sources=sources,
    )
    assert journal.text_of("a").split() == [
        "555", "ro", "444", "ro/README.md", "555", "ro/suites", "555", "ro/suites/smoke/test.sh",
    ]  # fmt: skip
    assert [*journal.text_of("b").split()][::2] == ["755", "644", "755", "755"]
    assert journal.ended.status == "completed"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start steps as other users")
async def test_another_user_can_read_and_not_change_them(repository):
    with tempfile.TemporaryDirectory(prefix="cadenza-sources-") as open_folder:
        Path(open_folder).chmod(0o711)
        ground = Ground(Path(open_folder))
        bench = ground.bench(users=StepUsers([61_003]))
        journal = await bench.run(
            shell("cat ro/README.md; chmod u+w ro/README.md; echo bad > ro/README.md", "a"),
            shell(
                "echo good > rw/README.md; cat rw/README.md; touch here rw/x && ls ../sources", "b"
            ),
            shell("touch ro/x; touch ro/suites/x; rm -r ro; mv ro away; ls", "c"),
            shell(f"ls {ground.cache_dir}", "d"),
            sources=[
                from_git(repository, mount="ro"),
                from_git(repository, mount="rw", writable=True),
            ],
            strategy={"type": "serial", "stop_on_error": False},
        )
        assert journal.text_of("a") == "first\n"
        assert journal.end_of("a").status == "failed"
        assert journal.text_of("b") == "good\n"
        assert journal.text_of("d") == ""
        journal = await ground.bench(users=StepUsers([61_004])).run(
            shell("cat ro/README.md", "a"), sources=[from_git(repository, mount="ro")]
        )
        assert journal.text_of("a") == "first\n"


@pytest.mark.parametrize(
    ("source", "reason", "why"),
    [
        ({"ref": "nope"}, "source_missing", "no branch or tag 'nope'"),
        ({"ref": "0" * 40}, "source_missing", "has no commit 0000"),
        ({"path": "no/such"}, "source_missing", "has no folder 'no/such'"),
        ({"url": "file:///nowhere/at/all"}, "source_missing", "/nowhere/at/all"),
        ({"url": "https://127.0.0.1:1/x"}, "source_failed", "not allowed here"),
        ({"url": "http://127.0.0.1:1/x"}, "source_failed", "git ls-remote"),
        ({"token": "${{ secrets.none }}"}, "not_found", "no secret 'none'"),
        ({"ref": "${{ vars.none }}"}, "not_found", "no variable 'none'"),
        ({"ref": "${{ inputs.bad }}"}, "source_failed", "is no name of a branch"),
        ({"url": "${{ inputs.bad }}"}, "source_failed", "the url of a git source must be"),
        ({"path": "${{ inputs.out }}"}, "source_failed", "must not lead out"),
    ],
)
async def test_what_cannot_be_fetched_ends_the_run_before_its_first_step(
    ground, repository, source, reason, why
):
    given = {"bad": "--upload-pack=touch /tmp/x", "out": "../.."}
    journal = await ground.run(
        shell("true", "a"), sources=[from_git(repository) | source], inputs=given
    )
    assert (journal.ended.status, journal.ended.reason) == ("failed", reason), journal.ended
    assert why in journal.ended.error
    assert journal.end_of("a").status == "skipped"
    assert ground.packs() == []


async def test_a_repository_that_is_too_large_is_refused(tmp_path, repository):
    small = Ground(tmp_path, room=Size(bytes=10_000, files=1_000), max_bytes=10_000)
    repository.commit({"big": base64.b64encode(os.urandom(20_000)).decode()})
    journal = await small.run(shell("true"), sources=[from_git(repository)])
    assert journal.ended.reason == "source_too_large", journal.ended
    repository.commit({"huge": base64.b64encode(os.urandom(3 * MIB)).decode()})  # ulimit -f: 1 MiB
    journal = await small.run(shell("true"), sources=[from_git(repository)])
    assert journal.ended.reason == "source_too_large", journal.ended


async def test_a_cancel_and_the_time_of_the_run_end_a_fetch(tmp_path):
    quiet = ThreadingHTTPServer(("127.0.0.1", 0), Silent)
    threading.Thread(target=quiet.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{quiet.server_address[1]}/x.git"
        source = {"type": "git", "url": url}
        ground = Ground(tmp_path)
        journal = await ground.run(shell("true", "a"), sources=[source], timeout_seconds=0.5)
        assert (journal.ended.status, journal.ended.reason) == ("timed_out", "run_timeout")
        assert journal.end_of("a").status == "skipped"

        bench = ground.bench()
        await bench.workspace.start()
        plan = {"name": "p", "steps": [shell("true", "a")], "sources": [source]}
        task = asyncio.create_task(bench.executor.run(bench.claim(plan)))
        await asyncio.to_thread(Silent.asked.acquire)
        bench.executor.cancel("0197-run", {"reason": "enough"})
        await asyncio.wait_for(task, 20)
        assert bench.journal.ended.status == "cancelled"

        hasty = Ground(tmp_path / "hasty", timeout=0.5, attempts=1)
        journal = await hasty.run(shell("true", "a"), sources=[source])
        assert journal.ended.reason == "source_failed"
        assert "took too long" in journal.ended.error
    finally:
        quiet.shutdown()
        quiet.server_close()


class Silent(BaseHTTPRequestHandler):
    """Takes a request and never answers."""

    asked = threading.Semaphore(0)

    def do_GET(self):
        self.asked.release()
        self.rfile.read(1)

    def log_message(self, *_):
        pass


class GitServer(BaseHTTPRequestHandler):
    """git http-backend behind a password."""

    root: Path
    login = "Basic " + base64.b64encode(b"robot:t0ken-of-the-robot").decode()
    refused = 0

    def do_GET(self):
        if self.headers.get("Authorization") != self.login:
            type(self).refused += 1
            self.send_response(401)
            self.send_header("WWW-Authenticate", "Basic")
            self.send_header("content-length", "0")
            self.end_headers()
            return
        path, _, query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("content-type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("content-encoding", ""),
            "GIT_PROTOCOL": self.headers.get("git-protocol", ""),
            "CONTENT_LENGTH": str(len(body)),
        }
        done = subprocess.run(
            ["git", "http-backend"], input=body, env=env, capture_output=True, check=True
        )
        head, _, content = done.stdout.partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        self.send_response(int(lines.pop("Status", "200").split()[0]))
        for name, value in lines.items():
            self.send_header(name, value)
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_POST = do_GET

    def log_message(self, *_):
        pass


async def test_a_private_repository_over_http_wants_the_token_and_nobody_sees_it(
    tmp_path, repository, capfd
):
    handler = type("Handler", (GitServer,), {"root": tmp_path})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/repository/.git"
        source = {"type": "git", "url": url, "username": "robot"}
        ground = Ground(tmp_path)
        good = {**source, "token": "${{ secrets.git }}"}

        async def perform(source, value):
            return await ground.run(shell("cat README.md", "a"), sources=[source], secret=value)

        journal = await perform(good, "t0ken-of-the-robot")
        assert journal.text_of("a") == "first\n", journal.ended
        told = json.dumps(journal.resolved) + str(journal.story) + str(journal.ended)
        for refused in (await perform(good, "wr0ng-token-value"), await perform(source, "x" * 8)):
            assert refused.ended.reason == "source_failed", refused.ended
            told += str(refused.ended)
        out = capfd.readouterr()
        told += out.out + out.err
        assert handler.refused > 0
        for value in ("t0ken-of-the-robot", "wr0ng-token-value"):
            login = base64.b64encode(f"robot:{value}".encode()).decode()
            assert value not in told
            assert login not in told
    finally:
        server.shutdown()
        server.server_close()


async def test_ssh_gets_the_key_in_a_private_file_and_asks_nobody(tmp_path, repository):
    """An `ssh` of our own: what counts is how git is told to call it."""
    programs = tmp_path / "programs"
    programs.mkdir()
    told = tmp_path / "told"
    (programs / "ssh").write_text(
        "#!/bin/sh\n"
        f'echo "$@" >> {told}\n'
        'while [ $# -gt 1 ]; do [ "$1" = -i ] && { stat -c %a "$2"; cat "$2"; } '
        f">> {told}; shift; done\n"
        'exec sh -c "$1"\n'
    )
    (programs / "ssh").chmod(0o755)
    hosts = tmp_path / "hosts"
    ground = Ground(tmp_path, known_hosts=hosts)
    path = f"{programs}:{os.environ['PATH']}"
    object.__setattr__(ground.sources._options, "inherited", {"PATH": path})
    url = f"git@localhost:{repository.folder}"
    source = {"type": "git", "url": url, "ssh_key": "${{ secrets.git }}"}
    journal = await ground.run(
        shell("cat README.md", "a"), sources=[source], secret="-----KEY-----"
    )
    assert journal.text_of("a") == "first\n", journal.ended
    said = told.read_text()
    assert "BatchMode=yes" in said
    assert f"UserKnownHostsFile={hosts} -o StrictHostKeyChecking=yes" in said
    assert "600\n-----KEY-----\n" in said


async def test_hooks_configuration_and_attributes_of_a_repository_run_nothing(
    ground, repository, tmp_path
):
    mark = tmp_path / "mark"
    hooks = repository.folder / ".git" / "hooks"
    for name in ("post-checkout", "post-merge", "reference-transaction"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {mark}\n")
        (hooks / name).chmod(0o755)
    repository.commit(
        {
            ".gitattributes": "* filter=evil\n",
            ".gitmodules": '[submodule "x"]\n\tpath = x\n\turl = https://example.com/x.git\n',
        }
    )
    mark.unlink(missing_ok=True)
    journal = await ground.run(shell("cat README.md", "a"), sources=[from_git(repository)])
    assert journal.text_of("a") == "first\n"
    assert not mark.exists()


# --- uploads and inline files


def tarball(**files):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            tar.addfile(info, io.BytesIO(text.encode()))
    return out.getvalue()


def sha256_of(data):
    import hashlib

    return hashlib.sha256(data).hexdigest()


async def test_an_upload_is_unpacked_and_comes_from_the_cache_the_second_time(ground):
    data = tarball(a="from the archive\n")
    sha = sha256_of(data)
    await ground.uploads.add(data, sha)
    sources = [{"type": "upload", "sha256": sha, "mount": "up"}]
    ground.uploads.away = 2
    journal = await ground.run(shell("cat up/a", "a"), sources=sources)
    assert journal.text_of("a") == "from the archive\n", journal.ended
    assert journal.resolved == [{"type": "upload", "mount": "up", "sha256": sha}]
    ground.uploads.known.clear()
    journal = await ground.run(shell("cat up/a", "a"), sources=sources)
    assert journal.text_of("a") == "from the archive\n"


async def test_an_upload_that_is_gone_altered_or_no_archive(ground):
    async def reason(sha):
        journal = await ground.run(shell("true"), sources=[{"type": "upload", "sha256": sha}])
        return journal.ended.reason

    data = tarball(a="x")
    assert await reason(sha256_of(data)) == "source_missing"
    await ground.uploads.add(data, "f" * 64)
    assert await reason("f" * 64) == "source_failed"
    await ground.uploads.add(data, sha256_of(data))
    shutil.rmtree(ground.tmp_path / "objects")
    assert await reason(sha256_of(data)) == "source_missing"
    for junk in (b"", b"no archive", data[:40]):
        await ground.uploads.add(junk, sha256_of(junk))
        assert await reason(sha256_of(junk)) == "source_failed"
    big = tarball(a="x" * (9 * MIB))
    await ground.uploads.add(big, sha256_of(big))
    assert await reason(sha256_of(big)) == "source_too_large"


async def test_inline_files(ground):
    files = {"run.sh": "#!/bin/sh\necho ran $1\n", "data/a.json": '{"x": "$${{ y }}"}\n'}
    journal = await ground.run(
        shell("suite/run.sh it; cat suite/data/a.json", "a"),
        sources=[{"type": "inline", "files": files, "mount": "suite"}],
    )
    assert journal.text_of("a") == 'ran it\n{"x": "$${{ y }}"}\n'
    assert ground.packs() == []


async def test_the_cache_is_bounded_and_the_oldest_goes_first(tmp_path):
    ground = Ground(tmp_path, most_bytes=250_000)
    plans = []
    for number in range(4):
        data = tarball(a=base64.b64encode(os.urandom(60_000)).decode() + str(number))
        await ground.uploads.add(data, sha256_of(data))
        plans.append([{"type": "upload", "sha256": sha256_of(data)}])
    seen = []
    for number in (0, 1, 2, 0, 3):
        await ground.run(shell("true"), sources=plans[number])
        names = {pack.name for pack in ground.packs()}
        seen.append(len(names))
        assert sum(pack.stat().st_size for pack in ground.packs()) <= 250_000
    assert seen == [1, 2, 3, 3, 3]
    ground.uploads.known.clear()
    outcomes = [(await ground.run(shell("true"), sources=plan)).ended.reason for plan in plans]
    assert outcomes == [None, "source_missing", None, None], "1 was used least recently"


async def test_many_runs_at_once_fetch_once(ground, repository):
    count = 12
    benches = [ground.bench() for _ in range(count)]
    plan = partial(dict, sources=[from_git(repository)])
    journals = await asyncio.gather(
        *(bench.run(shell("cat README.md", "a"), **plan()) for bench in benches)
    )
    assert [journal.text_of("a") for journal in journals] == ["first\n"] * count
    assert len(ground.packs()) == 1


async def test_a_run_without_sources_pays_nothing(ground):
    journal = await ground.run({"name": "a", "command": {"type": "noop"}}, sources=[])
    assert journal.ended.status == "completed"
    assert journal.resolved == []
    assert not ground.cache_dir.exists()
