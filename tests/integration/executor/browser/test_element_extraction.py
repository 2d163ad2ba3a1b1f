"""The elements of real pages, and that what is said about them is true."""

import asyncio
import json

from services.executor.programs.browser.profiles import KINDS, PROFILES
from tests.integration.executor.browser.conftest import run


async def test_a_site_is_crawled_and_every_unique_locator_finds_one_element(site, tmp_path):
    arguments = {"url": site.url + "/shop", "profile": "ux_designer", "screenshots": "elements"}
    ran = await run(tmp_path, "element_extraction", arguments)
    assert ran.end == ("completed", None)
    outputs = ran.outcome.outputs
    pages = {page["url"].removeprefix(site.url): page for page in outputs["pages"]}
    assert list(pages) == ["/shop", "/about", "/shop?again", "/file", "/team"], "within the origin"
    assert pages["/file"]["loaded"] is False
    assert (outputs["truncated"], outputs["pages_not_visited"]) == (False, 0)
    elements = outputs["extracted_elements"]
    assert elements == json.loads((ran.kept / "elements.json").read_text())
    assert len({element["id"] for element in elements}) == len(elements) == outputs["count"]
    by_text = {element["text"]: element for element in elements if element["type"] != "heading"}
    go = by_text["Find it"]
    assert (go["type"], go["tag"], go["is_visible"], go["is_interactive"]) == (
        "button",
        "button",
        True,
        True,
    )
    assert go["attributes"] == {"data-testid": "go", "type": "submit"}
    assert go["locators"][0] == {
        "strategy": "data-testid",
        "value": "data-testid=go",
        "score": 0.95,
        "unique": True,
    }
    assert (go["selector"], go["page_url"]) == ('[data-testid="go"]', site.url + "/shop")
    assert (ran.kept / go["screenshot"]).stat().st_size > 100
    assert by_text["Off"]["is_interactive"] is False
    assert by_text["About us"]["href"] == site.url + "/about"
    assert by_text["Shop"]["occurrences"] == 3, "twice on the page of the shop, once on another"
    assert by_text["Tab one"]["type"] == "tab"
    kinds = outputs["by_type"]
    assert (kinds["checkbox"], kinds["dropdown"], kinds["form"], kinds["frame"]) == (1, 1, 1, 1)
    order = [element["type"] for element in elements]
    assert order[0] == "navigation", "what the profile looks for comes first"

    # what is said to be unique is
    told = [
        (locator, element)
        for element in elements
        for locator in element["locators"]
        if locator["unique"] and element["page_url"] == site.url + "/shop" and element["is_visible"]
    ]
    assert len(told) > 40
    steps = [
        {"action": "assert_count", "element": locator["value"], "count": 1} for locator, _ in told
    ]
    selectors = {element["selector"] for _, element in told}
    steps += [{"action": "assert_count", "element": css, "count": 1} for css in selectors]
    late = {"action": "assert_text", "element": "#late", "contains": "here"}
    ran = await run(
        tmp_path,
        "playwright",
        {
            "steps": [{"action": "navigate", "url": site.url + "/shop"}, late, *steps],
            "continue_on_failure": True,
            "timeout_seconds": 0.5,
            "screenshot_on_failure": False,
            "trace": "off",
        },
    )
    wrong = [step for step in ran.steps[2:] if step["status"] != "passed"]
    assert wrong == []


async def test_a_huge_page_is_cut_and_says_so(site, tmp_path):
    arguments = {"web_page_url": site.url + "/many", "scan": "quick", "max_elements": 1_500}
    ran = await run(tmp_path, "element_extraction", arguments)
    assert ran.end == ("completed", None)
    outputs = ran.outcome.outputs
    assert outputs["truncated"] is True
    assert outputs["count"] == 1_500
    assert 500 < len(outputs["extracted_elements"]) < 1_500, "as many as outputs can hold"
    assert len(json.loads((ran.kept / "elements.json").read_text())) == 1_500
    assert "of 4000 found" in ran.printed


async def test_pages_that_fail_are_tried_again_and_the_first_one_must_open(site, tmp_path):
    folders = [tmp_path / "flaky", tmp_path / "never"]
    for folder in folders:
        folder.mkdir()
    flaky = {"url": site.url + "/flaky", "kinds": ["heading"]}
    never = {"url": site.url + "/never", "navigation_timeout_seconds": 0.2}
    ran, failed = await asyncio.gather(
        *(
            run(folder, "element_extraction", arguments)
            for folder, arguments in zip(folders, (flaky, never), strict=True)
        )
    )
    assert ran.end == ("completed", None)
    assert site.asked.count("/flaky") == 3
    assert [element["text"] for element in ran.outcome.outputs["extracted_elements"]] == ["At last"]
    assert failed.end == ("failed", "navigation_failed")
    assert f"{site.url}/never" in failed.outcome.error
    assert failed.printed.count("trying again") == 2


def test_profiles_name_kinds_that_there_are():
    assert len(PROFILES) == 6
    for name, profile in PROFILES.items():
        assert not {*profile.priority, *profile.ignored} - KINDS.keys(), name
    assert PROFILES["ux_designer"].deeper() == (5, 35)
    assert PROFILES["accessibility_auditor"].deeper() == (5, 40)
