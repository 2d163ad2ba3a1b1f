"""Orders and requests for 7PS."""

from typing import Any

from sandbox.seven_ps.app import TOKEN
from services.executor.seven_ps import request
from services.executor.seven_ps.request import Order, Set

HEADERS = {"Authorization": f"Bearer {TOKEN}"}
ARGS = {"BASE_URL": "https://x", "DB_HOST": "h", "DB_NAME": "n", "DB_PORT": "1"}


def an_order(**changes: Any) -> Order:
    return Order(
        **{
            "test_type": "live_dependency_tests",
            "environment": "qa",
            "release": "r-7",
            "sets": [Set(id="checkout", name="Check out")],
            "args": ARGS,
            "secrets": {"DB_USER": "u", "DB_PASSWORD": "p"},
            "suite": {"name": "shop"},
            **changes,
        }
    )


def a_request(**changes: Any) -> dict[str, Any]:
    return request.build(an_order(**changes))
