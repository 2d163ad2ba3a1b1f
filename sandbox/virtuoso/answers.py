"""How the API words its answers: the envelope around items, lists and maps, and the body of an error."""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

Json = dict[str, Any]


class Refused(Exception):
    """The API says no: an HTTP status with a code and a sentence of its own."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def response(self) -> Response:
        error = {"code": self.code, "message": self.message}
        return JSONResponse({"success": False, "error": error}, status_code=self.status)


def unauthorized() -> Refused:
    return Refused(401, "401", "Unauthorized")


def project_missing() -> Refused:
    return Refused(404, "1403", "Project not found")


def checkpoint_missing() -> Refused:
    return Refused(404, "2500", "Checkpoint not found")


def name_taken() -> Refused:
    return Refused(400, "1501", "A project with the specified name already exists")


def bad_variable() -> Refused:
    return Refused(400, "2605", "Variable syntax is invalid")


def bad_command() -> Refused:
    return Refused(400, "2605", "Invalid test step command")


def missing(what: str) -> Refused:
    return Refused(404, "404", f"{what} not found")


def bad_request(message: str) -> Refused:
    return Refused(400, "400", message)


def item(request: Request, value: Any, *, status: int = 200) -> Response:
    """One thing; bare when the caller asked for `envelope=false`."""
    if request.query_params.get("envelope") == "false":
        return JSONResponse(value, status_code=status)
    return JSONResponse({"success": True, "item": value}, status_code=status)


def items(request: Request, values: list[Any]) -> Response:
    """A list under `items`."""
    if request.query_params.get("envelope") == "false":
        return JSONResponse(values)
    return JSONResponse({"success": True, "items": values})


def keyed(request: Request, values: Mapping[int, Any], *, total: int | None = None) -> Response:
    """A map whose keys are ids as text; `total` is how many there are in all."""
    by_text = {str(key): value for key, value in values.items()}
    if request.query_params.get("envelope") == "false":
        return JSONResponse(by_text)
    counted = {} if total is None else {"total": total}
    return JSONResponse({"success": True, "map": by_text, **counted})
