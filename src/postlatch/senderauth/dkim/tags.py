"""Tag lists, ``v=1; a=rsa-sha256; …``: of signatures, key records, ARC and DMARC. RFC 6376 section 3.2."""

from __future__ import annotations

import re
from typing import Final

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
# VALCHAR with the white space between, and all that RFC 8616 section 5 adds: UTF-8 without control characters.
_FORBIDDEN: Final = re.compile("[^\\t\\x20-\\x7e\\xa0-\\ud7ff\\ue000-\\U0010ffff]")
_WSP: Final = " \t"


class TagError(ValueError):
    """Text that is no tag list. The message is a sentence of ours: nothing of the text is in it but the name of a tag."""


def parse_tags(text: bytes | str) -> dict[str, str]:
    """The tags in their order, values unfolded and without the white space around them; TagError if it is no tag list.

    Names compare with case, a tag that is there twice spoils the list, a final semicolon is permitted. White space within a
    value stays: base64 and lists may hold it.
    """
    unfolded = _decode(text).replace("\r\n ", " ").replace("\r\n\t", "\t")
    if _FORBIDDEN.search(unfolded):
        raise TagError("the tag list holds a control character (RFC 6376 section 3.2)")
    specs = unfolded.split(";")
    if len(specs) > 1 and not specs[-1].strip(_WSP):
        specs.pop()
    tags: dict[str, str] = {}
    for spec in specs:
        name, equals, value = spec.partition("=")
        name = name.strip(_WSP)
        if not equals or _NAME.fullmatch(name) is None:
            raise TagError("a part of the tag list is not name=value (RFC 6376 section 3.2)")
        if name in tags:
            raise TagError(f"the tag {name[:20]}= is there twice (RFC 6376 section 3.2)")
        tags[name] = value.strip(_WSP)
    return tags


def _decode(text: bytes | str) -> str:
    if isinstance(text, str):
        return text
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        raise TagError("the tag list is not UTF-8 (RFC 8616 section 5)") from None
