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

# Each search begins at something cheap to find (a digit run, an @, a telling word), and what is tried there is
# bounded: a prompt of megabytes takes a fraction of a second, whatever is in it.
_DIGIT = re.compile(r"\d")
_DIGITS = re.compile(r"\d[\d ()/.+-]{5,}\d")
_BEFORE_DIGITS = "+("
_CARD = re.compile(r"(?<![\w.-])(?:\d[ -]?){12,18}\d(?![\w-])")
_PHONE = re.compile(r"(?<![\w.+-])(?:\+|00)?\(?\d(?:[ ()/.-]{0,2}\d){6,14}(?![\w-])")
_PHONE_WORDS = re.compile(
    r"\b(?:phone|tel|telephone|telefon|mobile|mobil|cell|fax|handy|call|whatsapp|sms|hotline|t[ée]l[ée]phone)\b\W{0,3}"
    r"(?:\w{1,12}\W{1,3}){0,2}$",
    re.IGNORECASE,
)
_CONTEXT_CHARACTERS = 40
_IBAN = re.compile(r"[A-Z][A-Z]\d\d")
_IBAN_REST = re.compile(r"(?: ?[A-Z0-9]){11,30}")
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
_MOST_LOCAL = 64
"""Of the part of an e-mail address before the @ (RFC 5321, 4.5.3.1.1)."""
_DOMAIN = re.compile(r"(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])")
_NOBODYS = re.compile(r"@(?:[\w-]+\.)*(?:example\.(?:com|org|net)|example|invalid|test|localhost)$", re.IGNORECASE)
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_SECRET_WORD = re.compile(
    r"pass|secret|token|api[_-]?key|private[_-]?key|credential|auth|cookie|session[_-]?id|signature"
)
_SECRET_WORD_PARTS = ("pass", "secret", "token", "key", "credential", "auth", "cookie", "session", "signature")
_MOST_NAME = 60
_ASSIGNED = re.compile(
    r"(?P<rest>[\w.-]{0,60})[\"']?\s{0,3}(?::=|=>|[:=])\s{0,3}"
    r"(?:(?P<quote>[\"'])(?P<quoted>[^\"'\n]{6,400})(?P=quote)|(?P<bare>[^\s\"'`,;(){}\[\]<>$]{8,400}))"
)
_SCHEMES = ("bearer ", "basic ")
_CREDENTIAL = re.compile(r"\s{0,3}(?P<value>[A-Za-z0-9_\-.~+/=]{12,4000})")
_USER_INFO = re.compile(r"[^\s:/@\"']{0,100}:(?P<value>[^\s/@\"']{1,200})@")


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
    lowered = text.lower()
    if len(lowered) != len(text):
        # A few letters have lower case of another length; places have to stay.
        lowered = "".join(letter.lower() if letter.isascii() else letter for letter in text)
    for scheme in _SCHEMES:
        yield from _values_after(text, lowered, scheme, _CREDENTIAL)
    yield from _values_after(text, text, "://", _USER_INFO)
    yield from _assigned(text, lowered)


def _values_after(text: str, searched: str, marker: str, value: re.Pattern[str]) -> Iterator[Span]:
    for at in _places(searched, marker):
        if match := value.match(text, at + len(marker)):
            yield Span(*match.span("value"), "SECRET")


def _assigned(text: str, lowered: str) -> Iterator[Span]:
    """Yield what is given to a telling name: `api_key = "..."`, `"password": "..."`."""
    if not any(part in lowered for part in _SECRET_WORD_PARTS):
        return
    done = 0
    for word in _SECRET_WORD.finditer(lowered):
        if word.start() < done:
            continue
        match = _ASSIGNED.match(text, word.end())
        if match is None:
            continue
        done = match.end()
        begin = _begin_of(text, word.start(), "_.-", _MOST_NAME)
        part = "quoted" if match["quoted"] is not None else "bare"
        if is_secret_name(text[begin : match.end("rest")]) and _looks_secret(match[part], quoted=part == "quoted"):
            yield Span(*match.span(part), "SECRET")


def _places(text: str, marker: str) -> Iterator[int]:
    at = text.find(marker)
    while at >= 0:
        yield at
        at = text.find(marker, at + len(marker))


def _begin_of(text: str, at: int, others: str, most: int) -> int:
    """Return where the run of letters, digits and `others` that ends at `at` begins, looking back `most`."""
    begin = at
    while begin > max(0, at - most) and (text[begin - 1].isalnum() or text[begin - 1] in others):
        begin -= 1
    return begin


def _looks_secret(value: str, *, quoted: bool) -> bool:
    """Whether a value under a telling name is one: not a variable, a type, a sentence or a placeholder."""
    if value.startswith(("${", "{{", "%(", "<", "***")) or " " in value:
        return False
    varied = any(map(str.isdigit, value)) and any(map(str.isalpha, value))
    return varied or (quoted and not value.isidentifier()) or (quoted and len(value) >= 8)


def _personal(text: str) -> Iterator[Span]:
    yield from _emails(text)
    if _DIGIT.search(text) is None:
        return
    yield from _ibans(text)
    for run in _DIGITS.finditer(text):
        begin = run.start()
        while begin and run.start() - begin < 2 and text[begin - 1] in _BEFORE_DIGITS:
            begin -= 1
        # With a character on either side, so that what must not stand there is seen.
        begin = max(0, begin - 1)
        window = text[begin : run.end() + 1]
        for card in _CARD.finditer(window):
            if _is_card(card[0]):
                yield Span(begin + card.start(), begin + card.end(), "CARD")
        for phone in _PHONE.finditer(window):
            if _is_phone(
                phone[0], text[max(0, begin + phone.start() - _CONTEXT_CHARACTERS) : begin + phone.start()]
            ):
                yield Span(begin + phone.start(), begin + phone.end(), "PHONE")


def _emails(text: str) -> Iterator[Span]:
    for at in _places(text, "@"):
        begin = _begin_of(text, at, "_.+-", _MOST_LOCAL + 1)
        domain = _DOMAIN.match(text, at + 1)
        # Nobody's address: what is reserved for examples (RFC 2606), and the user of Git's servers.
        if domain is None or not 0 < at - begin <= _MOST_LOCAL or text[begin:at] == "git":
            continue
        if _NOBODYS.search(text[at : domain.end()]) is None:
            yield Span(begin, domain.end(), "EMAIL")


def _ibans(text: str) -> Iterator[Span]:
    for match in _IBAN.finditer(text):
        # What follows may look like more of it: each country's have one length.
        if match.start() and _is_word(text[match.start() - 1]):
            continue
        length = _IBAN_LENGTHS.get(match[0][:2])
        rest = _IBAN_REST.match(text, match.end())
        if length is None or rest is None:
            continue
        end = match.end()
        missing = length - len(match[0])
        while missing and end < rest.end():
            missing -= text[end] != " "
            end += 1
        if not missing and not text[end : end + 1].isalnum() and _is_iban(text[match.start() : end]):
            yield Span(match.start(), end, "IBAN")


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _is_phone(found: str, before: str) -> bool:
    digits = sum(map(str.isdigit, found))
    international = found.startswith("+") and digits >= 8
    return international or (digits >= 7 and _PHONE_WORDS.search(before) is not None)


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
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def _is_address(found: str) -> bool:
    try:
        address = ipaddress.ip_address(found)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)
