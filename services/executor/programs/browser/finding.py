"""Where the browser is, and how to get one."""

import shutil

NAMES = ("chromium", "chromium-browser", "google-chrome")
HOW = (
    "Install Chromium (Debian, Ubuntu: apt-get install chromium) or set EXECUTOR__BROWSER_PATH"
    " to the program of a Chromium or Chrome"
)


def find_browser(path: str | None, search_path: str | None = None) -> str | None:
    """The browser's program: `path`, or the first of `NAMES` on `search_path`. None: there is none."""
    names = NAMES if path is None else (path,)
    return next((found for name in names if (found := shutil.which(name, path=search_path))), None)


def why_missing(path: str | None) -> str:
    """A sentence with the way out."""
    what = f"'{path}' is no program" if path else f"none of {', '.join(NAMES)} is on PATH"
    return f"there is no browser on this machine: {what}"
