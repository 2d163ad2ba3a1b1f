"""Why a step or a run ended as it did: every reason word, what it means and what to do about it.

The one list. `docs/reference/reasons.md` is written from it (`make docs`), and a test in `tests/architecture` finds
every word that the code uses and is missing here. Words never change their meaning: people filter by them.
"""

from collections.abc import Mapping
from typing import NamedTuple

from services.executor.commands.reasons_of_commands import (
    OF_COMMANDS,
    OF_LIMITS,
    OF_OTHERS,
    OF_WAITING,
)
from services.executor.programs.browser.reasons import OF_BROWSERS


class Reason(NamedTuple):
    meaning: str
    what_to_do: str


OF_STEPS: Mapping[str, tuple[str, str]] = {
    "cancelled": (
        "Somebody cancelled the run, or it was stopped while the step ran.",
        "Nothing; the run's `cancel` says who and why.",
    ),
    "lost_worker": (
        "The executor that ran it died. A step with `idempotent: false` is not run twice; a run ends so after three.",
        "Look at memory and disk of the executors; check what the step has done, then rerun.",
    ),
    "workspace_failed": (
        "The step's folder could not be made or read.",
        "Look at disk and permissions of `EXECUTOR__WORK_DIR`.",
    ),
    "missing_reference": (
        "A reference has no value: the step that it names ended without this output.",
        "Set the output in that step, or guard this one with `when`.",
    ),
    "bad_reference": ("A reference cannot be read.", "The error says how references are written."),
    "not_found": (
        "Something that the step names is not there, such as a secret or variable.",
        "The error names it.",
    ),
    "condition_false": ("Skipped: its `when` does not hold. This is no failure.", "Nothing."),
    "condition_error": (
        "Its `when` compares what cannot be compared, such as a text with a number.",
        "Compare equals with equals: `steps.a.outputs.n == '5'` or let the step output a number.",
    ),
    "upstream_failed": (
        "Skipped: a step that it needs, or an earlier one of a serial plan, did not complete.",
        "Mend that step. To run in spite of it: `when` with the status, or `always: true`.",
    ),
    "upstream_skipped": (
        "Skipped: it uses outputs of a step that the plan left out. This is no failure.",
        "Nothing, or give that step a `fallback`.",
    ),
    "fallback_not_needed": ("Skipped: the step that it stands in for did not fail.", "Nothing."),
    "run_stopped": ("Skipped: the run was cancelled or its time was over.", "Rerun from here."),
    "cleanup_timeout": (
        "Clean-up after a cancel or timeout took longer than the plan's `cleanup_seconds` and was ended.",
        "Clean up by hand; raise `cleanup_seconds`.",
    ),
    "reused": ("Not run: a rerun took over what an earlier run had recorded.", "Nothing."),
    "output_gone": (
        "The recorded output of an earlier step is no longer kept.",
        "Rerun from the start.",
    ),
}

OF_RUNS: Mapping[str, tuple[str, str]] = {
    "step_failed": ("A step failed.", "The error names the first one: read its reason."),
    "step_timed_out": ("A step timed out.", "The error names the first one."),
    "step_skipped": ("A step could not run though none failed.", "Look at the skipped steps."),
    "degraded": (
        "Completed, but a step failed and its fallback stood in.",
        "The error names the step; mend it before the fallback fails too.",
    ),
    "run_timeout": (
        "The run took longer than the plan's `timeout_seconds`.",
        "Raise it, or split the plan.",
    ),
    "rejected": (
        "A run: its plan cannot be run, or the request could not be delivered. A step: a person rejected it.",
        "The error says why, or the comment in the step's outputs.",
    ),
    "plan_unavailable": ("The stored plan is gone or was altered.", "Submit it again."),
    "source_failed": (
        "A source of the plan could not be fetched.",
        "The error says why; check the address, the credential and the network.",
    ),
    "source_too_large": (
        "A source of the plan has more bytes or files than an executor takes.",
        "Bring less, or an operator raises `EXECUTOR__MAX_SOURCE_BYTES`, `…_FILES`.",
    ),
    "unsafe_archive": (
        "An archive holds what could leave its folder, or is no file, folder or link.",
        "Pack it anew; the error names the entry.",
    ),
    "expired": ("It was accepted too long ago to be started now.", "Submit it again."),
    "shutdown": ("The worker was shut down; the run goes on elsewhere.", "Nothing."),
}

OF_PLATFORM: Mapping[str, tuple[str, str]] = {
    "storage_unavailable": ("MongoDB or the object store was away.", "Rerun when it is back."),
    "object_missing": ("Bytes that a document names are gone from the object store.", "Rerun."),
    "precondition_failed": ("Something else wrote to the same place.", "Rerun."),
    "broker_unavailable": ("Kafka was away.", "Rerun when it is back."),
    "upstream_unavailable": ("Another system could not be reached.", "Look there; then rerun."),
    "upstream_timeout": ("Another system did not answer in time.", "Look there; then rerun."),
    "upstream_invalid": ("Another system answered with what nobody understands.", "Look there."),
    "rate_limited": ("Another system asks for fewer requests.", "Rerun later."),
    "retries_exhausted": ("Another system failed again and again.", "Look there; then rerun."),
    "overloaded": ("Too much at once.", "Rerun later."),
    "transient": ("Something passing went wrong.", "Rerun."),
    "permanent": ("Something went wrong that trying again does not mend.", "The error says what."),
    "invalid_request": ("A value that was handed on is not valid.", "The error names it."),
    "invalid_message": ("A message cannot be read.", "The error says why."),
    "too_large": ("A value is larger than allowed.", "The error names the limit."),
    "unauthorized": ("Another system does not know who asks.", "Check the credentials."),
    "forbidden": ("Another system does not allow it.", "Check the rights of the credentials."),
    "conflict": ("Something with this name is there already.", "Choose another name."),
    "gone": ("Something has been there and is no longer.", "The error names it."),
    "configuration": ("A setting is wrong.", "The error names it."),
    "decryption_failed": (
        "A stored value cannot be decrypted: its key is gone, or it was altered or moved.",
        "Check `SECURITY__ENCRYPTION_KEYS`: old keys stay in the list.",
    ),
    "encryption_missing": (
        "A step has `encrypted_fields`, and the executor has no encryption key.",
        "Set `SECURITY__ENCRYPTION_KEYS` for gateway and executor.",
    ),
    "secret_unreadable": (
        "A secret is there and cannot be decrypted.",
        "Check `SECURITY__ENCRYPTION_KEYS`, or set the secret again.",
    ),
    "bad_condition": ("A condition cannot be read.", "The error says where."),
}

GROUPS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "How a command ended": OF_COMMANDS,
    "Which limit ended it": OF_LIMITS,
    "What others answered": OF_OTHERS,
    "Waiting, children, turns": OF_WAITING,
    "In a browser": {
        word: why for word, why in OF_BROWSERS.items() if word not in {**OF_LIMITS, **OF_OTHERS}
    },
    "What happened to a step": OF_STEPS,
    "How a run ended": OF_RUNS,
    "What the platform or another system said": OF_PLATFORM,
}

REASONS: Mapping[str, Reason] = {
    word: Reason(*sentences) for group in GROUPS.values() for word, sentences in group.items()
}
