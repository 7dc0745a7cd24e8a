"""Hashes of addresses and numbers, in the forms that advertising platforms ask for.

They differ: Google drops the dots of a Gmail address, others do not; Meta hashes a number without its +, Google and
TikTok with it. So a clear value has more than one hash, and each of them names it.
"""

import hashlib
from typing import Literal

Hashable = Literal["email", "phone"]
"""The types whose hashes are told."""

GMAIL = frozenset({"gmail.com", "googlemail.com"})
"""The domains at which Google takes addresses for one, whatever the dots before the @."""


def hashes(type_: Hashable, form: str) -> tuple[str, ...]:
    """Return the SHA-256 hashes of a clear value, in hexadecimal digits.

    Args:
        type_: the type of the clear value.
        form: its form: an address in lower case, a number in E.164. A number with an extension has no hash.
    """
    texts = _addresses(form) if type_ == "email" else _numbers(form)
    return tuple(hashlib.sha256(text.encode()).hexdigest() for text in texts)


def _addresses(form: str) -> list[str]:
    local, _, domain = form.rpartition("@")
    dotless = f"{local.replace('.', '')}@{domain}"
    return [form, dotless] if domain in GMAIL and dotless != form else [form]


def _numbers(form: str) -> list[str]:
    return [] if ";" in form else [form, form.removeprefix("+")]
