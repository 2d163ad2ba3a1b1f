"""Sources in a plan: what is wrong with them is said before anything runs."""

from pathlib import Path

import pytest
import yaml

from shared.errors import InvalidRequest
from shared.plans.validation import validate_submission
from tests.builders.runs import a_submission

GIT = {"type": "git", "url": "https://git.example.com/a.git"}
INLINE = {"type": "inline", "files": {"a": "x"}}


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example.com/a.git",
        "https://git.example.com:8443/group/a",
        "ssh://git@git.example.com/a.git",
        "git@git.example.com:group/a.git",
        "file:///srv/git/a.git",
        "${{ vars.repository }}",
        "https://git.example.com/${{ inputs.repository }}.git",
    ],
)
def test_good_addresses(url):
    given = {"repository": "a"} if "inputs" in url else {}
    source = GIT | {"url": url, "ref": "feature/x-1.2", "token": "${{ secrets.git }}"}
    validate_submission(a_submission(sources=[source]) | {"inputs": given})


@pytest.mark.parametrize(
    ("sources", "field", "rule"),
    [
        ([{"type": "svn"}], "sources[0]", "unknown_type"),
        ([{}], "sources[0].type", "missing"),
        ([{"type": "git"}], "sources[0].url", "missing"),
        ([GIT | {"branch": "x"}], "sources[0].branch", "unknown_field"),
        ([GIT | {"url": "https://user:pass@host/x"}], "sources[0].url", "credentials"),
        ([GIT | {"url": "https://token@host/x"}], "sources[0].url", "credentials"),
        ([GIT | {"url": "ext::sh -c id"}], "sources[0].url", "url"),
        ([GIT | {"url": "--upload-pack=x"}], "sources[0].url", "url"),
        ([GIT | {"url": "/srv/git"}], "sources[0].url", "url"),
        ([GIT | {"ref": "-x"}], "sources[0].ref", "ref"),
        ([GIT | {"ref": "a..b"}], "sources[0].ref", "ref"),
        ([GIT | {"ref": "a b"}], "sources[0].ref", "ref"),
        ([GIT | {"ref": "${{ steps.one.outputs.x }}"}], "sources[0].ref", "reference_order"),
        ([GIT | {"ref": "${{ secrets.x }}"}], "sources[0].ref", "reference_order"),
        ([GIT | {"ref": "${{ what }}"}], "sources[0].ref", "bad_reference"),
        ([GIT | {"path": "../x"}], "sources[0].path", "path"),
        ([GIT | {"token": "ghp_plain"}], "sources[0].token", "plain_text"),
        ([GIT | {"token": "x ${{ secrets.a }}"}], "sources[0].token", "plain_text"),
        ([GIT | {"ssh_key": "${{ vars.key }}"}], "sources[0].ssh_key", "plain_text"),
        ([GIT | {"mount": "/etc"}], "sources[0].mount", "path"),
        ([GIT | {"mount": "a/../.."}], "sources[0].mount", "path"),
        ([GIT, GIT], "sources[1].mount", "mount"),
        ([GIT | {"mount": "a"}, INLINE | {"mount": "a/b"}], "sources[1].mount", "mount"),
        ([{"type": "upload", "sha256": "abc"}], "sources[0].sha256", "pattern"),
        ([{"type": "inline", "files": {}}], "sources[0].files", "too_short"),
        ([{"type": "inline", "files": {"../a": ""}}], "sources[0].files.../a", "path"),
        ([{"type": "inline", "files": {"a/": ""}}], "sources[0].files.a/", "path"),
        ([{"type": "inline", "files": {"a": "", "a/b": ""}}], "sources[0].files.a/b", "path"),
        ([{"type": "inline", "files": {"a": "", "./a": ""}}], "sources[0].files../a", "path"),
    ],
)
def test_what_is_wrong_is_named(sources, field, rule):
    with pytest.raises(InvalidRequest) as caught:
        validate_submission(a_submission(sources=sources))
    assert [(e.field, e.rule) for e in caught.value.errors] == [(f"plan.{field}", rule)]


def test_an_input_that_only_a_source_names_is_known():
    source = GIT | {"ref": "${{ inputs.branch }}"}
    body = a_submission(sources=[source]) | {"inputs": {"branch": "main"}}
    assert validate_submission(body).inputs == {"branch": "main"}


@pytest.mark.parametrize("name", ["plan.yaml", "upload.yaml"])
def test_the_examples_are_good(name):
    text = Path("examples/08-sources", name).read_text().replace("SHA256", "a" * 64)
    validate_submission({"plan": yaml.safe_load(text)})


def test_beside_the_working_directory_itself_others_may_stand():
    validate_submission(a_submission(sources=[GIT, INLINE | {"mount": "config"}]))
