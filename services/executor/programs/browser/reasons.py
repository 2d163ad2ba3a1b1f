"""Why browser steps fail: word → meaning, what to do."""

from collections.abc import Iterable, Mapping

OF_BROWSERS: Mapping[str, tuple[str, str]] = {
    "assertion_failed": (
        "What a browser step asserts did not become true in its time.",
        "Look at the picture `failure-<step>.png` or the trace.",
    ),
    "action_failed": (
        "A browser step could not click, fill or find something; its `error_kind` says why.",
        "Look at the picture or the trace; name the element more precisely where several match.",
    ),
    "navigation_failed": (
        "A page did not open: no answer, refused, no such host, a status of 500 or above or not `expect_status`.",
        "See that the site is up and can be reached from the executor.",
    ),
    "address_refused": (
        "It is this machine's, a private or reserved address, or of a kind that browsers here may not open.",
        "An operator allows networks with `EXECUTOR__HTTP_ALLOWED_NETWORKS`, kinds with `EXECUTOR__BROWSER_SCHEMES`.",
    ),
    "host_refused": (
        "The executor's settings do not allow browsers this host.",
        "Add it to `EXECUTOR__BROWSER_ALLOWED_HOSTS`.",
    ),
    "file_missing": (
        "The storage state that a browser should begin with is not there, or is no JSON.",
        "Have an earlier step write it (`save_storage_state`).",
    ),
    "browser_missing": (
        "There is no browser where the step ran, or no Playwright package.",
        "`apt-get install chromium`, or set `EXECUTOR__BROWSER_PATH`.",
    ),
    "browser_failed": (
        "The browser did not start; the error has its last words.",
        "Mostly a missing library, or `EXECUTOR__BROWSER_PATH` names something else.",
    ),
    "browser_crashed": (
        "The browser or one of its pages crashed or was killed.",
        "Look for the kernel's out-of-memory killer; `retry` tries it again.",
    ),
    "oom": (
        "The browser or the suite took more memory than the limit.",
        "Raise `limits.memory_mb` (or `EXECUTOR__MEMORY_LIMIT_MB`), or open less at once.",
    ),
    "tests_failed": (
        "Some tests of a suite failed.",
        "Look at the artifact `junit.xml`.",
    ),
    "no_tests": (
        "The suite has no tests that its arguments select.",
        "Check `working_dir` and `args`.",
    ),
}


def table(words: Iterable[str] = OF_BROWSERS) -> str:
    """For the reference pages."""
    rows = [f"| `{word}` | {OF_BROWSERS[word][0]} | {OF_BROWSERS[word][1]} |" for word in words]
    return "\n".join(
        ["## When it fails", "", "| reason | meaning | what to do |", "|---|---|---|", *rows]
    )
