"""Checks a document against a JSON Schema: `json_schema_check SCHEMA DOCUMENT`, both files.

A process of its own, because a schema of a few lines can take for ever. References outside of the schema are not
followed: neither files nor addresses are read for it. Exit code 0: it fits; 3: it does not, and standard output says
where, one line each; 4: the schema is none.
"""

import json
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import jsonschema_rs

MISFIT = 3
NO_SCHEMA = 4
MAX_TOLD = 10
MAX_MESSAGE = 300


def main(argv: Sequence[str]) -> int:
    schema, document = (json.loads(Path(name).read_bytes()) for name in argv)
    try:
        validator = jsonschema_rs.validator_for(
            schema, offline=True, pattern_options=jsonschema_rs.RegexOptions()
        )
    except (ValueError, jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError) as error:
        print(_brief(str(error)))  # noqa: T201 - it is what the program is for
        return NO_SCHEMA
    misfits = list(islice(validator.iter_errors(document), MAX_TOLD))
    for misfit in misfits:
        print(f"{_path(misfit.instance_path)}: {_brief(misfit.message)}")  # noqa: T201
    return MISFIT if misfits else 0


def _path(parts: Sequence[Any]) -> str:
    return "$" + "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in parts)


def _brief(message: str) -> str:
    line = " ".join(message.split())
    return line if len(line) <= MAX_MESSAGE else f"{line[:MAX_MESSAGE]}…"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
