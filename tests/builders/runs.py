"""Plans and requests for runs."""

from typing import Any

from shared.clock import SystemClock
from shared.events.run import RunControl, RunRequested
from shared.ids import new_id


def a_step(name: str = "one", **overrides: Any) -> dict[str, Any]:
    return {"name": name, "command": {"type": "noop"}, **overrides}


def a_plan(*steps: dict[str, Any], **overrides: Any) -> dict[str, Any]:
    return {"name": "a plan", "steps": list(steps) or [a_step()], **overrides}


def a_submission(*steps: dict[str, Any], **plan: Any) -> dict[str, Any]:
    return {"plan": a_plan(*steps, **plan)}


def a_run_requested(plan: dict[str, Any] | None = None, **overrides: Any) -> RunRequested:
    return RunRequested(
        **{
            "id": new_id(),
            "tenant": "acme",
            "occurred_at": SystemClock().now(),
            "execution_id": new_id(),
            "user_id": "ann",
            "plan": plan or a_plan(),
            "content_hash": "0" * 64,
            **overrides,
        }
    )


def a_cancel_of(request: RunRequested) -> RunControl:
    now = SystemClock().now()
    return RunControl(
        id=new_id(),
        tenant=request.tenant,
        occurred_at=now,
        execution_id=request.execution_id,
        action="cancel",
        requested_by="ann",
        requested_at=now,
    )
