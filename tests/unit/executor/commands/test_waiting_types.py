"""Steps that wait for a person or an event."""

import time
from dataclasses import replace

import pytest

from services.executor.commands.approval import Approval
from services.executor.commands.base import Suspended
from services.executor.commands.wait_for_event import WaitForEvent
from tests.unit.executor.processes.contexts import a_context


@pytest.fixture
def ctx(tmp_path):
    made, _ = a_context(tmp_path)
    return replace(made, key="0198-run/2", attempt="1.1", deadline=None)


async def test_an_approval_waits_for_a_decision_about_this_try(ctx):
    asked = await Approval().execute({"message": "ship it?", "within_seconds": 60}, ctx)
    assert isinstance(asked, Suspended)
    assert asked.wake_keys == ("approval/0198-run/2/1.1",)
    assert (asked.about["kind"], asked.about["message"]) == ("approval", "ship it?")
    again = await Approval().execute({"within_seconds": 60}, ctx, state=asked.state)
    assert isinstance(again, Suspended)
    assert again.state == asked.state, "its time goes on"


@pytest.mark.parametrize(
    ("heard", "status", "reason"),
    [
        ({"approved": True, "by": "ann", "comment": "fine"}, "completed", None),
        ({"approved": False, "by": "ann", "comment": "no"}, "failed", "rejected"),
    ],
)
async def test_a_decision_ends_it_even_when_it_comes_with_the_end_of_its_time(
    ctx, heard, status, reason
):
    ctx = replace(ctx, heard=[heard], deadline=time.monotonic() - 1)
    ended = await Approval().execute({}, ctx, state={"until": time.time() - 1})
    assert (ended.status, ended.reason) == (status, reason)
    assert (ended.outputs["by"], ended.outputs["comment"]) == ("ann", heard["comment"])


@pytest.mark.parametrize("command", [Approval(), WaitForEvent()])
async def test_silence_and_cancel_have_ends_of_their_own(ctx, command):
    arguments = {"key": "x"} if command.type == "wait_for_event" else {}
    late = await command.execute(arguments, ctx, state={"until": time.time() - 1})
    word = "approval_timeout" if command.type == "approval" else "event_timeout"
    assert (late.status, late.reason) == ("timed_out", word)
    over = replace(ctx, deadline=time.monotonic() - 1)
    ended = await command.execute(arguments, over, state={"until": time.time() + 60})
    assert ended.reason == word
    ctx.cancel.set()
    ended = await command.execute(arguments, ctx, state={"until": time.time() + 60})
    assert (ended.status, ended.reason) == ("cancelled", "cancelled")


async def test_what_is_told_with_an_event_becomes_outputs(ctx):
    heard = replace(ctx, heard=[{"data": {"v": 1}, "by": "ann"}])
    ended = await WaitForEvent().execute({"key": "k"}, heard, state={"until": time.time() + 9})
    assert (ended.status, ended.outputs) == ("completed", {"v": 1})


@pytest.mark.parametrize("key", ["a b", "/a", ""])
async def test_a_key_that_nobody_can_tell_is_refused(ctx, key):
    assert (await WaitForEvent().execute({"key": key}, ctx)).reason == "invalid_arguments"


@pytest.mark.parametrize("command", [Approval(), WaitForEvent()])
async def test_where_nobody_can_answer_nobody_is_waited_for(tmp_path, command):
    alone, _ = a_context(tmp_path)
    arguments = {"key": "x"} if command.type == "wait_for_event" else {}
    assert (await command.execute(arguments, alone)).reason == "not_available"
