"""What kind of values a column of text holds, and what its name says of it. Pure.

The order of the kinds is the domain's: e-mail, phone, URL, UUID, IP address, currency, date or time, number, yes or
no, category, JSON, free text, else text. A plain number is never a date, a phone number or an amount of money, although
those come first: a column of order numbers would be one of them otherwise.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Literal

Kind = Literal[
    "email", "phone", "url", "uuid", "ip", "currency", "datetime", "integer", "float", "boolean",
    "categorical", "json", "free_text", "string",
]  # fmt: skip

LOOKED_AT = 1_000
SHARE = 0.8
"""More than this share of the values must be of a kind."""
CATEGORY_SHARE, CATEGORY_COUNT = 0.1, 50
FREE_TEXT_LENGTH = 100

_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(\.[^@\s.]+)+")
_PHONE = re.compile(r"(?=.*[+()\-. ])\+?[0-9(][0-9()\-. ]{5,18}[0-9]")
_URL = re.compile(r"(https?|ftp)://[^\s/]+\S*", re.IGNORECASE)
_UUID = re.compile(r"[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}", re.IGNORECASE)
_AMOUNT = r"[0-9]{1,3}([., ']?[0-9]{3})*([.,][0-9]{1,2})?"
_CODES = r"(USD|EUR|GBP|JPY|CHF|INR|CNY|AUD|CAD)"
_SIGNS = "[$€£¥₹]"
_CURRENCY = re.compile(rf"-?({_SIGNS}|{_CODES}) ?-?{_AMOUNT}|-?{_AMOUNT} ?({_SIGNS}|{_CODES})")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_DATE_LIKE = re.compile(r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}([T ].*)?")
_DOTTED_NUMBERS = re.compile(r"[0-9]+(\.[0-9]+)?")
_YES_NO = frozenset({"true", "false", "yes", "no", "t", "f", "y", "n"})

FORMATS = (
    "%Y-%m-%d", "%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%dT%H:%M:%S.%fZ", "%Y-%m-%d %H:%M:%S.%f",
    "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%d %H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z", "%Y/%m/%d",
    "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%d-%m-%Y",
)  # fmt: skip


def format_of(text: str) -> str | None:
    """The first known format that reads it as a date or a time; None for anything else, a plain number included."""
    if not _DATE_LIKE.fullmatch(text) or _DOTTED_NUMBERS.fullmatch(text):
        return None
    return next((one for one in FORMATS if _reads(text, one)), None)


def moment_of(text: str) -> datetime | None:
    """The date or time that a text is; without a zone it stays so."""
    known = format_of(text)
    return datetime.strptime(text, known) if known else None  # noqa: DTZ007 - as it is written


def is_json(text: str) -> bool:
    """An object or an array; a bare number or word is none."""
    if text[:1] not in "{[":
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _is_ip(text: str) -> bool:
    if "." not in text and ":" not in text:
        return False
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


CHECKS: Mapping[str, Callable[[str], bool]] = {
    "email": lambda text: bool(_EMAIL.fullmatch(text)),
    "phone": lambda text: (
        bool(_PHONE.fullmatch(text))
        and 7 <= sum(map(str.isdigit, text)) <= 15
        and not _FLOAT.fullmatch(text)
        and not _DATE_LIKE.fullmatch(text)
        and not _is_ip(text)
    ),
    "url": lambda text: bool(_URL.fullmatch(text)),
    "uuid": lambda text: bool(_UUID.fullmatch(text)),
    "ip": _is_ip,
    "currency": lambda text: bool(_CURRENCY.fullmatch(text)),
    "datetime": lambda text: format_of(text) is not None,
    "integer": lambda text: bool(_INTEGER.fullmatch(text)),
    "float": lambda text: bool(_FLOAT.fullmatch(text)),
    "boolean": lambda text: text.lower() in _YES_NO,
    "json": is_json,
}
"""Whether a value is good for a kind; every value is good for the others."""
_BEFORE_CATEGORY: tuple[Kind, ...] = (
    "email", "phone", "url", "uuid", "ip", "currency", "datetime", "integer", "float", "boolean",
)  # fmt: skip


def kind_of(values: Sequence[str]) -> Kind:
    """The kind of the values, of which the first `LOOKED_AT` are looked at."""
    looked_at = [value.strip() for value in values[:LOOKED_AT]]
    if not looked_at:
        return "string"
    for kind in _BEFORE_CATEGORY:
        if _share(looked_at, CHECKS[kind]) > SHARE:
            return kind
    distinct = len(set(looked_at))
    if distinct < CATEGORY_COUNT and distinct / len(looked_at) < CATEGORY_SHARE:
        return "categorical"
    if _share(looked_at, is_json) > SHARE:
        return "json"
    if sum(map(len, looked_at)) / len(looked_at) > FREE_TEXT_LENGTH:
        return "free_text"
    return "string"


PII = ("ssn", "social", "phone", "email", "address", "name", "birth", "age")
SENSITIVE = ("salary", "income", "password", "secret", "key", "token")
_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")


def classification_of(column: str) -> Literal["PII", "SENSITIVE"] | None:
    """By words of the column's name: `userAge` speaks of an age, `language` does not."""
    words = [word.lower() for word in _WORDS.findall(column)]
    for word in words:
        if any(_speaks_of(word, one) for one in SENSITIVE):
            return "SENSITIVE"
    return "PII" if any(_speaks_of(word, one) for word in words for one in PII) else None


def _speaks_of(word: str, wanted: str) -> bool:
    """Short words only as they are: too many others contain them."""
    return word == wanted or (len(wanted) > 3 and wanted in word)


def _share(values: Sequence[str], check: Callable[[str], bool]) -> float:
    return sum(map(check, values)) / len(values)


def _reads(text: str, format_: str) -> bool:
    try:
        datetime.strptime(text, format_)  # noqa: DTZ007 - as it is written
    except ValueError:
        return False
    return True
