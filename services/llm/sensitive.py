"""Finds what should not leave as it is: credentials, and personal data whose form can be checked.

Patterns find candidates, a check decides: the Luhn sum of a card number (ISO/IEC 7812), the remainder of an IBAN
(ISO 13616), words beside a telephone number. What is taken for sensitive and is not does little harm, since it is
put back in the answer.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from quantum_suite.core.masking import is_secret_name, secret_spans

_CARD = re.compile(r"(?<![\w.-])(?:\d[ -]?){12,18}\d(?![\w-])")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?!\w)")
_IBAN_LENGTHS = {
    **dict.fromkeys(("NO",), 15),
    **dict.fromkeys(("BE",), 16),
    **dict.fromkeys(("DK", "FI", "NL"), 18),
    **dict.fromkeys(("SI", "MK"), 19),
    **dict.fromkeys(("AT", "BA", "EE", "KZ", "LT", "LU", "XK"), 20),
    **dict.fromkeys(("CH", "HR", "LI", "LV"), 21),
    **dict.fromkeys(("BG", "BH", "DE", "GB", "GE", "IE", "ME", "RS"), 22),
    **dict.fromkeys(("AE", "GI", "IL", "IQ", "TL"), 23),
    **dict.fromkeys(("AD", "CZ", "ES", "MD", "PK", "RO", "SA", "SE", "SK", "TN", "VG"), 24),
    **dict.fromkeys(("PT",), 25),
    **dict.fromkeys(("FR", "GR", "IT", "MC", "SM"), 27),
    **dict.fromkeys(("AL", "AZ", "BY", "CY", "DO", "GT", "HU", "LB", "PL", "SV"), 28),
    **dict.fromkeys(("BR", "EG", "PS", "QA", "UA"), 29),
    **dict.fromkeys(("JO", "KW", "MU"), 30),
    **dict.fromkeys(("MT", "SC"), 31),
}
# Bounded parts: an endless run of letters before an @ must not be tried from every one of them.
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])")
_NOBODYS = re.compile(r"@(?:[\w-]+\.)*(?:example\.(?:com|org|net)|example|invalid|test|localhost)$", re.IGNORECASE)
_PHONE = re.compile(r"(?<![\w.+-])(?:\+|00)?\(?\d(?:[ ()/.-]{0,2}\d){6,14}(?![\w-])")
_PHONE_WORDS = re.compile(
    r"\b(?:phone|tel|telephone|telefon|mobile|mobil|cell|fax|handy|call|whatsapp|sms|hotline|t[ée]l[ée]phone)\b\W{0,3}"
    r"(?:\w{1,12}\W{1,3}){0,2}$",
    re.IGNORECASE,
)
_CONTEXT_CHARACTERS = 40
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_ASSIGNED = re.compile(
    r"(?P<name>[A-Za-z_][\w.-]{1,60})[\"']?\s{0,3}(?::=|=>|[:=])\s{0,3}"
    r"(?:(?P<quote>[\"'])(?P<quoted>[^\"'\n]{6,400})(?P=quote)|(?P<bare>[^\s\"'`,;(){}\[\]<>$]{8,400}))"
)
_BEARER = re.compile(r"(?i)\b(?:bearer|basic)\s+(?P<value>[A-Za-z0-9_\-.~+/=]{12,4000})")
_IN_URL = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s:/@\"']{0,100}:(?P<value>[^\s/@\"']{1,200})@")


@dataclass(frozen=True, slots=True)
class Span:
    """Something sensitive: `text[start:end]`."""

    start: int
    end: int
    kind: str
    """SECRET, CARD, IBAN, EMAIL, PHONE or IP."""


def find_sensitive(text: str, *, secrets: bool, personal: bool, ip_addresses: bool) -> list[Span]:
    """Return what is sensitive in `text`, in order, without overlaps: what begins first and is longest counts."""
    found: list[Span] = []
    if secrets:
        found += _secrets(text)
    if personal:
        found += _personal(text)
    if ip_addresses:
        found += _matches(_IPV4, text, "IP", _is_address)
        found += _matches(_IPV6, text, "IP", _is_address)
    kept: list[Span] = []
    for span in sorted(found, key=lambda one: (one.start, -one.end)):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept


def _secrets(text: str) -> Iterator[Span]:
    for start, end in secret_spans(text):
        yield Span(start, end, "SECRET")
    for pattern in (_BEARER, _IN_URL):
        for match in pattern.finditer(text):
            yield Span(*match.span("value"), "SECRET")
    for match in _ASSIGNED.finditer(text):
        part = "quoted" if match["quoted"] is not None else "bare"
        if is_secret_name(match["name"]) and _looks_secret(match[part], quoted=part == "quoted"):
            yield Span(*match.span(part), "SECRET")


def _looks_secret(value: str, *, quoted: bool) -> bool:
    """Whether a value under a telling name is one: not a variable, a type, a sentence or a placeholder."""
    if value.startswith(("${", "{{", "%(", "<", "***")) or " " in value:
        return False
    varied = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return varied or (quoted and not value.isidentifier()) or (quoted and len(value) >= 8)


def _personal(text: str) -> Iterator[Span]:
    if "@" in text:
        yield from _matches(_EMAIL, text, "EMAIL", lambda found: _NOBODYS.search(found) is None)
    yield from _matches(_IBAN, text, "IBAN", _is_iban)
    yield from _matches(_CARD, text, "CARD", _is_card)
    for match in _PHONE.finditer(text):
        before = text[max(0, match.start() - _CONTEXT_CHARACTERS) : match.start()]
        digits = sum(map(str.isdigit, match[0]))
        international = match[0].startswith("+") and digits >= 8
        if international or (digits >= 7 and _PHONE_WORDS.search(before)):
            yield Span(*match.span(), "PHONE")


def _matches(pattern: re.Pattern[str], text: str, kind: str, check: Callable[[str], bool]) -> Iterator[Span]:
    for match in pattern.finditer(text):
        if check(match[0]):
            yield Span(*match.span(), kind)


def _is_card(found: str) -> bool:
    digits = [int(digit) for digit in found if digit.isdigit()]
    if digits[0] not in (2, 3, 4, 5, 6) or len(set(digits)) < 2:
        return False
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _is_iban(found: str) -> bool:
    plain = found.replace(" ", "")
    if len(plain) != _IBAN_LENGTHS.get(plain[:2]):
        return False
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def _is_address(found: str) -> bool:
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)
