"""What people type: addresses and numbers in other ways, with errors, or anything at all."""

import random

JUNK_EMAILS = (
    "null", "test@test.com", "n/a", "none", "asdf@asdf.com", "no@no.com", "noemail@noemail.com", "undefined",
    "unknown@unknown.com", "a@a.com", "nobody@nowhere.com", "me@mail.com",
)  # fmt: skip
JUNK_PHONES = (
    "000-000", "000-000-0000", "null", "n/a", "999-999-9999", "1111111111", "555-555-5555", "123-456-7890", "-1",
    "undefined", "206-555-1212", "425-555-0100",
)  # fmt: skip
"""Values that stand for none. The last two of each are on no built-in list: no list is complete."""

_NEIGHBOURS = dict(zip("qwertyuiopasdfghjklzxcvbnm0123456789", "wqetryiuposadgfhkjlxzvcbmn1032547698", strict=True))
"""For each character one beside it on the keyboard."""


def address(email: str, roll: random.Random) -> str:
    """Return an address as people write it, which is matched as the same."""
    kind = roll.random()
    if kind < 0.05:
        return email.title()
    return f" {email} " if kind < 0.1 else email


def misspelt(email: str, roll: random.Random) -> str:
    """Return an address with one error: left out, doubled, swapped or beside it on the keyboard."""
    local, _, domain = email.partition("@")
    if roll.random() < 0.2:
        return f"{local}@{domain.replace('example', 'exmaple')}"
    at = roll.randrange(len(local))
    letter = local[at]
    doubled = local[: at + 1] + local[at:]
    changed = (
        local[:at] + local[at + 1 :],
        doubled,
        local[:at] + local[at : at + 2][::-1] + local[at + 2 :],
        local[:at] + _NEIGHBOURS.get(letter, letter) + local[at + 1 :],
    )[roll.randrange(4)]
    # Nothing left, or two of one letter swapped: then it is typed twice.
    return f"{doubled if changed in {'', local} else changed}@{domain}"


def number(digits: str, roll: random.Random) -> str:
    """Return a number of ten digits in one of the ways in which it is written."""
    area, exchange, line = digits[:3], digits[3:6], digits[6:]
    return roll.choice(
        (
            f"+1{digits}", f"({area}) {exchange}-{line}", f"{area}-{exchange}-{line}", f"{area}.{exchange}.{line}",
            digits, f"1 {area} {exchange} {line}", f"tel:+1-{area}-{exchange}-{line}",
        )
    )  # fmt: skip
