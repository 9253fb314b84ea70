"""Checks the name of a new client: it becomes a part of addresses, `/v1/admin/clients/NAME/grants`, and stands for keys."""

import unicodedata

MOST = 200
EMPTY = "a name needs at least one character that is not a space"


def name_problem(name: str) -> str | None:
    """Say what is wrong with a new client's name, and what to do; return None if it is good."""
    if not name.strip():
        return EMPTY
    if name != name.strip():
        return f"{name!r} has spaces around it, which nobody sees in a list; leave them out"
    if len(name) > MOST:
        return f"this name has {len(name)} characters; it may have {MOST}"
    if any(unicodedata.category(character) in ("Cc", "Cs") for character in name):
        return f"{name!r} has characters that cannot be shown; leave them out"
    if "/" in name:
        return f"{name!r} has a '/', which no address of the admin API can carry; write {name.replace('/', '-')!r}"
    if name.startswith("sk_"):
        return f"{name!r} begins like a key, and `backlot keys revoke` would take it for one; choose another name"
    # Browsers take them out of an address.
    if name in (".", ".."):
        return f"{name!r} is no name in an address; add a letter"
    return None
