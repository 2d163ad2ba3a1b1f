"""Reasons that commands give: a part of the one list in `reasons.py`."""

from collections.abc import Mapping

OF_COMMANDS: Mapping[str, tuple[str, str]] = {
    "nonzero_exit": (
        "The program ended with an exit code other than 0.",
        "Read the step's log; `exit_code` has the number.",
    ),
    "signal": (
        "A signal ended the program.",
        "`signal` has the number. 9 is often memory, 24 CPU time, 25 file size: look at the limits.",
    ),
    "timeout": (
        "The step ran longer than its `timeout_seconds`.",
        "Make it faster, or raise `timeout_seconds`; `retry` tries it again.",
    ),
    "program_missing": (
        "There is no such program where the step ran.",
        "Install it in the executor's image, or check `PATH` and the spelling.",
    ),
    "not_executable": (
        "The file is there and may not be executed.",
        "`chmod +x` it, or start it through its interpreter.",
    ),
    "working_dir_missing": (
        "The folder in which the program was to start does not exist.",
        "Create it in a step before, or correct the path.",
    ),
    "start_failed": (
        "The program could not be started, for a reason of the machine's.",
        "The error names it; look at the executor's limits on processes and files.",
    ),
    "script_missing": (
        "There is no script at this path.",
        "Check `path`; it counts from the working directory.",
    ),
    "invalid_arguments": (
        "After its references were replaced the command's arguments do not fit.",
        "The error names the argument; look at the outputs that it came from.",
    ),
    "invalid_output": (
        "What the program wrote to `$CADENZA_OUTPUT` is not one JSON object a line.",
        'Write lines such as `{"passed": 12}`.',
    ),
    "not_resumable": (
        "The step was suspended by another version of its command type.",
        "Run it again.",
    ),
    "not_available": (
        "This executor is not configured for it, or the embedded library cannot do it.",
        "The error names the setting; or run the plan on another executor.",
    ),
    "internal_error": (
        "A mistake in Cadenza.",
        "Report it with the execution id; the executor's log has the trace.",
    ),
}

OF_LIMITS: Mapping[str, tuple[str, str]] = {
    "oom": (
        "Its memory limit, or the machine's memory, ran out.",
        "Raise `limits.memory_mb`, or use less.",
    ),
    "cpu_limit": ("Its CPU time was used up.", "Raise `limits.cpu_seconds`."),
    "output_limit": (
        "It wrote more output than allowed.",
        "Print less, or let the rest be dropped: `on_output_limit: truncate`.",
    ),
    "disk_full": (
        "There is no room left below the executor's `EXECUTOR__WORK_DIR`.",
        "Make room there or give it a larger disk; bound steps with `limits.file_size_mb`; `retry` tries again.",
    ),
    "file_size_limit": ("A file grew too large.", "Raise `limits.file_size_mb`."),
    "process_limit": ("Too many processes or threads.", "Raise `limits.processes`."),
    "open_files_limit": ("Too many open files.", "Raise `limits.open_files`."),
}

OF_OTHERS: Mapping[str, tuple[str, str]] = {
    "assertion_failed": (
        "A check or a test failed.",
        "The error names the first one; compare it with the step's outputs.",
    ),
    "upstream_error": ("The other side failed or broke off.", "Look there."),
    "upstream_refused": ("The other side refused what it was asked.", "Mend what the error names."),
    "unexpected_answer": (
        "The other side's answer cannot be read.",
        "Compare it with the contract; raw results that are JSON are kept as an artifact.",
    ),
    "address_refused": (
        "It is no public address, and not an allowed one.",
        "An operator allows networks with `EXECUTOR__HTTP_ALLOWED_NETWORKS`.",
    ),
    "dns_failed": ("The name has no address.", "Check the host name."),
    "connection_refused": ("Nobody listens there.", "Check port and service."),
    "connection_failed": ("There is no way there.", "Check the network."),
    "tls_failed": (
        "The certificate is not trusted, or TLS failed.",
        "Mend it, or `verify_tls: false`.",
    ),
    "response_too_large": ("The body is larger than allowed.", "Raise `max_response_bytes`."),
    "too_many_redirects": ("More than ten redirects.", "Check for a loop."),
    "credentials_missing": (
        "AWS has no keys and no profile.",
        "Set them in the step's `env`, from secrets.",
    ),
    "nothing_ran": ("No test passed or failed.", "Check sets, journeys and tags."),
    "job_failed": ("The job failed, and no test did.", "Read the service's message."),
    "job_cancelled": ("Somebody ended the job there.", "Run it again."),
    "job_forgotten": (
        "The service does not know the job any more.",
        "Run it again; ask its owner.",
    ),
    "artifact_missing": ("There is no such artifact of this tenant.", "It may have aged out."),
    "source_missing": (
        "There is no such file; or no such repository, branch, folder or upload of the plan's `sources`.",
        "Check the path or address, and the step before.",
    ),
    "source_unreadable": ("The file is no such table.", "Name `format` or `delimiter`."),
    "source_empty": ("The table has no rows.", "Check what wrote it."),
}

OF_WAITING: Mapping[str, tuple[str, str]] = {
    "approval_timeout": (
        "Nobody decided in time.",
        "Raise `within_seconds`, or tell the approvers.",
    ),
    "event_timeout": ("The event was not told in time.", "Check who tells it, and its key."),
    "plan_failed": ("The sub-plan did not complete.", "Open the child that the error names."),
    "plan_cancelled": (
        "Somebody cancelled the sub-plan; it is not tried again.",
        "Rerun it from this step.",
    ),
    "lanes_failed": ("Some lanes did not complete.", "`cadenza lanes RUN --status failed`."),
    "data_unusable": ("The table cannot be had or read.", "The error names the row or artifact."),
    "replaced": ("A newer run with its concurrency key took its place.", "Nothing."),
    "refused": (
        "Its concurrency key was busy, and it asked to be refused.",
        "Submit it again later.",
    ),
    "waiting_timeout": (
        "It did not start in time.",
        "See `cadenza queue`; or raise `queue_timeout_seconds`.",
    ),
    "key_lost": (
        "Its place under a concurrency key was lost before it began.",
        "It starts by itself.",
    ),
}
