"""Scripts of browser steps in a real browser."""

import json
import zipfile

import pytest

from sandbox.ports import free_port
from shared.security.redaction import Redactor
from tests.integration.executor.browser.conftest import run

SECRET = "hunter2-of-the-shop"


def script(site, *steps, **arguments):
    opened = {"action": "navigate", "url": "/shop"}
    return {"base_url": site.url, "steps": [opened, *steps], "timeout_seconds": 10, **arguments}


async def test_a_script_passes_and_tells_what_it_did(site, tmp_path):
    """Most of the actions, in one start of the browser."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work/picture.txt").write_text("me")
    ran = await run(
        tmp_path,
        "playwright",
        script(
            site,
            {"action": "assert_title", "equals": "Shop"},
            {"action": "assert_text", "element": "heading", "equals": "The shop"},
            {"action": "assert_text", "element": "css=h1", "contains": "SHOP", "ignore_case": True},
            {"action": "assert_text", "element": "#late", "contains": "now it is"},
            {"action": "assert_hidden", "element": "#secret"},
            {"action": "assert_visible", "element": 'role=button[name="Find it"]'},
            {"action": "assert_count", "element": "ul > .item", "count": 3},
            {"action": "fill", "element": "label=Looking for", "value": "lamps"},
            {"action": "type", "element": "placeholder=a thing", "value": " and more"},
            {"action": "assert_value", "element": "[name=q]", "equals": "lamps and more"},
            {"action": "fill", "element": "pin", "value": SECRET, "name": "type the pin"},
            {"action": "read", "element": "pin", "save_as": "shown"},
            {"action": "check", "element": "#gift"},
            {"action": "uncheck", "element": "#gift"},
            {"action": "check", "element": "//input[@name='gift']"},
            {"action": "select", "element": "#size", "values": ["Large"]},
            {"action": "assert_value", "element": "#size", "equals": "l"},
            {"action": "hover", "element": "text=About us"},
            {"action": "upload", "element": "#up", "files": ["picture.txt"]},
            {"action": "assert_text", "element": "#late", "equals": "picture.txt"},
            {"action": "evaluate", "script": "document.cookie = 'seen=1; max-age=600'"},
            {"action": "evaluate", "script": "() => ({a: [1, 'x']})", "save_as": "made"},
            {"action": "click", "element": "within", "frame": "#inner"},
            {"action": "assert_text", "element": "within", "frame": "#inner", "equals": "pressed"},
            {"action": "click", "element": "#ask"},
            {"action": "assert_title", "equals": "no"},
            {"action": "dialogs", "answer": "accept"},
            {"action": "click", "element": "#ask"},
            {"action": "assert_title", "equals": "yes"},
            {"action": "click", "element": "#popup"},
            {"action": "switch_page", "page": 2},
            {"action": "assert_url", "contains": "/about"},
            {"action": "close_page"},
            {"action": "download", "element": "#file", "save_as": "file"},
            {"action": "download", "url": "/file"},
            {"action": "screenshot", "name": "the form"},
            {"action": "evaluate", "script": "void (onbeforeunload = (e) => e.preventDefault())"},
            {"action": "dialogs", "answer": "dismiss"},
            {"action": "press", "element": "[name=q]", "key": "Enter"},
            {"action": "wait_for", "url": "/found?"},
            {"action": "wait_for", "load": "networkidle"},
            {"action": "wait_for", "element": "css=h1"},
            {"action": "back"},
            {"action": "reload"},
            trace="on",
            save_storage_state="state.json",
        ),
        redactor=Redactor([SECRET]),
    )
    assert ran.end == ("completed", None)
    assert {step["status"] for step in ran.steps} == {"passed"}
    assert ran.steps[11]["title"] == "type the pin"
    outputs = ran.outcome.outputs
    assert (outputs["passed"], outputs["failed"], outputs["skipped"]) == (45, 0, 0)
    assert outputs["values"] == {"shown": "", "made": {"a": [1, "x"]}, "file": "downloads/data.csv"}
    answers = [(dialog["type"], dialog["answer"]) for dialog in outputs["dialogs"]]
    assert answers == [
        ("confirm", "dismiss"),
        ("confirm", "accept"),
        ("beforeunload", "accept"),
    ], "a page that asks whether to leave it can be left"
    assert "something is odd" in outputs["console_errors"]["first"]
    assert f"404 {site.url}/missing" in outputs["failed_requests"]["first"]
    assert ran.files() == [
        "37-the-form.png",
        "downloads/2-data.csv",
        "downloads/data.csv",
        "trace.zip",
    ]
    assert (ran.kept / "downloads/data.csv").read_text() == "a,b\n1,2\n"
    assert "✓ 2/45 assert_title Shop" in ran.printed
    state = json.loads((tmp_path / "work/state.json").read_text())
    assert [cookie["name"] for cookie in state["cookies"]] == ["seen"]
    with zipfile.ZipFile(ran.kept / "trace.zip") as trace:
        texts = [trace.read(name) for name in trace.namelist() if not name.endswith("jpeg")]
    assert not any(SECRET.encode() in text for text in texts)
    assert any(b"[redacted]" in text for text in texts)
    left = {"state.json", "picture.txt"}
    assert {path.name for path in (tmp_path / "work").iterdir()} == left, "nothing else is left"


FAILURES = [
    ({"action": "click", "element": "#secret"}, "hidden", "hidden"),
    ({"action": "click", "element": "no-such"}, "not_found", "there is no element 'no-such'"),
    ({"action": "click", "element": ".item"}, "several_matches", "3 elements match '.item'"),
    ({"action": "click", "element": "#off"}, "disabled", "disabled"),
    ({"action": "click", "element": "#under"}, "covered", "covered by"),
    ({"action": "click", "element": "css=[[["}, "bad_locator", "no locator"),
    (
        {"action": "assert_text", "element": "heading", "equals": "x"},
        "wrong_text",
        "should be 'x' but is 'The shop'",
    ),
    (
        {"action": "assert_value", "element": "#q", "contains": "x"},
        "wrong_value",
        "should contain 'x' but is ''",
    ),
    ({"action": "assert_count", "element": ".item", "count": 4}, "wrong_count", "but 3 do"),
    ({"action": "assert_url", "contains": "/cart"}, "wrong_url", "should contain '/cart' but is"),
    ({"action": "assert_title", "equals": "x"}, "wrong_title", "should be 'x' but is 'Shop'"),
    ({"action": "assert_visible", "element": "#secret"}, "hidden", "hidden"),
    ({"action": "assert_hidden", "element": "heading"}, "visible", "should be hidden"),
    ({"action": "wait_for", "element": "#never"}, "not_found", "no element '#never'"),
    ({"action": "evaluate", "script": "nope()"}, "script_error", "nope is not defined"),
    ({"action": "evaluate", "script": "new Promise(() => 0)"}, "timeout", "took longer than"),
    ({"action": "upload", "element": "#up", "files": ["../x"]}, "file_missing", "'../x'"),
    ({"action": "switch_page", "page": 3}, "no_such_page", "no page 3; 1 were opened"),
    ({"action": "navigate", "url": "/file"}, "is_download", "is a file"),
]


WAITED_FOR = {"hidden", "not_found", "wrong_text", "wrong_value", "wrong_count", "wrong_url"}
WAITED_FOR |= {"wrong_title", "visible", "timeout", "no_such_page"}
AT_ONCE = {"several_matches", "bad_locator", "script_error", "file_missing", "is_download"}
"""Kinds that are certain without waiting; the others take some time to be seen."""


async def test_each_failure_is_one_line_with_its_kind(site, tmp_path):
    steps = [
        {**step, "timeout_seconds": 0.3 if kind in WAITED_FOR else 10 if kind in AT_ONCE else 2}
        for step, kind, _ in FAILURES
    ]
    late = {"action": "wait_for", "element": "text=now it is here"}
    arguments = script(site, late, *steps, continue_on_failure=True, screenshot_on_failure=False)
    ran = await run(tmp_path, "playwright", arguments)
    assert ran.end == ("failed", "action_failed")
    assert ran.outcome.error == "step 3 (click #secret): element '#secret' is there but hidden"
    for result, (step, kind, sentence) in zip(ran.steps[2:], FAILURES, strict=True):
        assert (result["status"], result["error_kind"]) == ("failed", kind), (step, result)
        assert sentence in result["error"]
        assert "\n" not in result["error"]


async def test_a_page_that_answers_with_an_error_or_not_at_all(site, tmp_path):
    port = free_port()
    nobody = f"http://127.0.0.1:{port}/"
    steps = [
        ({"url": "/missing"}, None),
        ({"url": "/missing", "expect_status": [200, "404"]}, None),
        ({"url": "/shop", "expect_status": "2xx"}, None),
        ({"url": "/shop#late"}, None),
        ({"url": "/broken", "expect_status": 500}, None),
        ({"url": "/broken"}, f"{site.url}/broken answered 500; expected was below 500"),
        ({"action": "reload"}, f"{site.url}/broken answered 500; expected was below 500"),
        ({"url": "/shop", "expect_status": ["3xx", 404]}, "answered 200; expected was 3xx or 404"),
        ({"url": nobody}, f"did not open: no connection to 127.0.0.1:{port}: Connection refused"),
    ]
    opened = [{"action": "navigate"} | step for step, _ in steps]
    ran = await run(
        tmp_path,
        "playwright",
        {"base_url": site.url, "steps": opened, "continue_on_failure": True, "trace": "off"},
    )
    assert ran.end == ("failed", "navigation_failed")
    for result, (step, sentence) in zip(ran.steps, steps, strict=True):
        assert result["status"] == ("passed" if sentence is None else "failed"), (step, result)
        if sentence is not None:
            assert (result["error_kind"], sentence in result["error"]) == (
                "navigation_failed",
                True,
            ), result


async def test_the_first_failure_ends_the_script_and_leaves_evidence(site, tmp_path):
    ran = await run(
        tmp_path,
        "playwright",
        script(
            site,
            {"action": "assert_text", "element": "heading", "equals": "x", "timeout_seconds": 0.5},
            {"action": "click", "element": "go"},
            video="retain-on-failure",
        ),
    )
    assert ran.end == ("failed", "assertion_failed")
    assert [step["status"] for step in ran.steps] == ["passed", "failed", "skipped"]
    assert ran.files() == ["failure-02.png", "trace.zip", "video-1.webm"]
    assert (ran.kept / "video-1.webm").stat().st_size > 1_000


@pytest.mark.parametrize(
    ("step", "field"),
    [
        ({"action": "click"}, "steps.0: Value error, 'click' needs 'element'"),
        ({"action": "fill", "element": "x"}, "'fill' needs 'value'"),
        ({"action": "clik", "element": "x"}, "there is no action 'clik'"),
        ({"action": "click", "element": "x", "url": "y"}, "'click' has no 'url'"),
        ({"action": "wait_for", "ms": 1, "url": "y"}, "takes exactly one of"),
        ({"action": "assert_url"}, "takes exactly one of: equals, contains"),
        ({"action": "read", "element": "x", "save_as": "a b"}, "save_as"),
        ({"action": "navigate", "url": "/", "expect_status": "6xx"}, "expect_status"),
    ],
)
async def test_a_wrong_script_starts_no_browser(tmp_path, step, field):
    ran = await run(tmp_path, "playwright", {"steps": [step]})
    assert ran.end == ("failed", "invalid_arguments")
    assert field in ran.outcome.error


async def test_either_steps_or_a_suite(tmp_path):
    ran = await run(tmp_path, "playwright", {})
    assert "exactly one of: steps, suite" in ran.outcome.error
