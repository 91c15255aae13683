"""The cipher suites that are asked for, by what is to be thought of them. Numbers and names: the IANA registry of TLS.

They are offered by number, so it does not matter which of them the TLS library of this machine still knows.
"""

from __future__ import annotations

from typing import Final

TLS13: Final = {
    0x1301: "AES_128_GCM_SHA256",
    0x1302: "AES_256_GCM_SHA384",
    0x1303: "CHACHA20_POLY1305_SHA256",
    0x1304: "AES_128_CCM_SHA256",
    0x1305: "AES_128_CCM_8_SHA256",
}
# With forward secrecy: the session key is not lost with the server's key (RFC 9325 section 4.2).
FORWARD_SECRET: Final = {
    0xC02B: "ECDHE-ECDSA-AES128-GCM-SHA256",
    0xC02F: "ECDHE-RSA-AES128-GCM-SHA256",
    0xC02C: "ECDHE-ECDSA-AES256-GCM-SHA384",
    0xC030: "ECDHE-RSA-AES256-GCM-SHA384",
    0xCCA9: "ECDHE-ECDSA-CHACHA20-POLY1305",
    0xCCA8: "ECDHE-RSA-CHACHA20-POLY1305",
    0x009E: "DHE-RSA-AES128-GCM-SHA256",
    0x009F: "DHE-RSA-AES256-GCM-SHA384",
    0xCCAA: "DHE-RSA-CHACHA20-POLY1305",
    0xC0AC: "ECDHE-ECDSA-AES128-CCM",
    0xC0AD: "ECDHE-ECDSA-AES256-CCM",
    0xC023: "ECDHE-ECDSA-AES128-SHA256",
    0xC027: "ECDHE-RSA-AES128-SHA256",
    0xC024: "ECDHE-ECDSA-AES256-SHA384",
    0xC028: "ECDHE-RSA-AES256-SHA384",
    0xC009: "ECDHE-ECDSA-AES128-SHA",
    0xC013: "ECDHE-RSA-AES128-SHA",
    0xC00A: "ECDHE-ECDSA-AES256-SHA",
    0xC014: "ECDHE-RSA-AES256-SHA",
    0x0067: "DHE-RSA-AES128-SHA256",
    0x006B: "DHE-RSA-AES256-SHA256",
    0x0033: "DHE-RSA-AES128-SHA",
    0x0039: "DHE-RSA-AES256-SHA",
    0x0032: "DHE-DSS-AES128-SHA",
    0x0038: "DHE-DSS-AES256-SHA",
}
FINITE_FIELD: Final = {code: name for code, name in FORWARD_SECRET.items() if name.startswith("DHE-RSA")}
STATIC: Final = {
    0x009C: "AES128-GCM-SHA256",
    0x009D: "AES256-GCM-SHA384",
    0xC09C: "AES128-CCM",
    0xC09D: "AES256-CCM",
    0x003C: "AES128-SHA256",
    0x003D: "AES256-SHA256",
    0x002F: "AES128-SHA",
    0x0035: "AES256-SHA",
    0x0041: "CAMELLIA128-SHA",
    0x0084: "CAMELLIA256-SHA",
    0x0096: "SEED-SHA",
}
NULL: Final = {
    0x0001: "NULL-MD5",
    0x0002: "NULL-SHA",
    0x003B: "NULL-SHA256",
    0xC001: "ECDH-ECDSA-NULL-SHA",
    0xC006: "ECDHE-ECDSA-NULL-SHA",
    0xC00B: "ECDH-RSA-NULL-SHA",
    0xC010: "ECDHE-RSA-NULL-SHA",
    0xC015: "AECDH-NULL-SHA",
}
EXPORT: Final = {
    0x0003: "EXP-RC4-MD5",
    0x0006: "EXP-RC2-CBC-MD5",
    0x0008: "EXP-DES-CBC-SHA",
    0x000B: "EXP-DH-DSS-DES-CBC-SHA",
    0x000E: "EXP-DH-RSA-DES-CBC-SHA",
    0x0011: "EXP-EDH-DSS-DES-CBC-SHA",
    0x0014: "EXP-EDH-RSA-DES-CBC-SHA",
    0x0017: "EXP-ADH-RC4-MD5",
    0x0019: "EXP-ADH-DES-CBC-SHA",
    0x0062: "EXP1024-DES-CBC-SHA",
    0x0064: "EXP1024-RC4-SHA",
}
ANONYMOUS: Final = {
    0x0018: "ADH-RC4-MD5",
    0x001A: "ADH-DES-CBC-SHA",
    0x001B: "ADH-DES-CBC3-SHA",
    0x0034: "ADH-AES128-SHA",
    0x003A: "ADH-AES256-SHA",
    0x006C: "ADH-AES128-SHA256",
    0x006D: "ADH-AES256-SHA256",
    0x00A6: "ADH-AES128-GCM-SHA256",
    0x00A7: "ADH-AES256-GCM-SHA384",
    0xC016: "AECDH-RC4-SHA",
    0xC017: "AECDH-DES-CBC3-SHA",
    0xC018: "AECDH-AES128-SHA",
    0xC019: "AECDH-AES256-SHA",
}
RC4: Final = {
    0x0004: "RC4-MD5",
    0x0005: "RC4-SHA",
    0xC002: "ECDH-ECDSA-RC4-SHA",
    0xC007: "ECDHE-ECDSA-RC4-SHA",
    0xC00C: "ECDH-RSA-RC4-SHA",
    0xC011: "ECDHE-RSA-RC4-SHA",
}
SMALL_BLOCKS: Final = {
    0x0007: "IDEA-CBC-SHA",
    0x0009: "DES-CBC-SHA",
    0x000A: "DES-CBC3-SHA",
    0x0012: "EDH-DSS-DES-CBC-SHA",
    0x0013: "EDH-DSS-DES-CBC3-SHA",
    0x0015: "EDH-RSA-DES-CBC-SHA",
    0x0016: "EDH-RSA-DES-CBC3-SHA",
    0xC003: "ECDH-ECDSA-DES-CBC3-SHA",
    0xC008: "ECDHE-ECDSA-DES-CBC3-SHA",
    0xC00D: "ECDH-RSA-DES-CBC3-SHA",
    0xC012: "ECDHE-RSA-DES-CBC3-SHA",
}
# Each is asked for alone: a server that takes any of a family takes one handshake to show it.
WEAK: Final = {
    "NULL": NULL,
    "EXPORT": EXPORT,
    "anonymous": ANONYMOUS,
    "RC4": RC4,
    "3DES": SMALL_BLOCKS,
    "static": STATIC,
}
USUAL: Final = (*FORWARD_SECRET, *STATIC)
EVERY: Final = (*USUAL, *SMALL_BLOCKS, *RC4)
_NAMES: Final = {**TLS13, **FORWARD_SECRET, **STATIC, **NULL, **EXPORT, **ANONYMOUS, **RC4, **SMALL_BLOCKS}


def name_of(suite: int) -> str:
    """As OpenSSL calls it; its number for one that was not offered."""
    return _NAMES.get(suite, f"0x{suite:04x}")
