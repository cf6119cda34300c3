"""What secrets and personal data look like in a text, and their replacement by marks such as `[redacted:email]`.

Made for hostile text: each pattern takes time in proportion to the text's length, and hardly any where the few
characters that it cannot do without are missing.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Span = tuple[int, int]
MARK_START = "[redacted:"
SECRET = "[redacted:secret]"  # noqa: S105 (a mark)
CARD = "[redacted:card]"
PRIVATE_KEY = "[redacted:private-key]"

_BASE64_SKIPPED_FROM = 10_000
_BASE64 = re.compile(r"[A-Za-z0-9+/]+={0,2}")
_PLAIN_WORD_MAX = 13
"""A name in letters and underscores that is no longer holds nothing that is looked for: a card has 13 digits."""


def redacted(text: str) -> str:
    """The same object where there is nothing to replace. Images and documents in base64 are passed over: no key of
    ours fits their alphabet, and looking through them would take longest of all."""
    if len(text) <= _PLAIN_WORD_MAX and text.isidentifier():
        return text
    if len(text) > _BASE64_SKIPPED_FROM and _BASE64.fullmatch(text):
        return text
    if "\\u" not in text:
        return _redacted(text)
    # JSON within JSON is text here: its escapes must hide no letter, nor lend a card their digits.
    plain = _ESCAPE.sub(_unescaped, text)
    found = _redacted(plain)
    return text if found is plain else found


def is_secret_name(name: str) -> bool:
    """Whether a field or header of this name holds a secret, whatever its value looks like."""
    return len(name) <= _NAME_MAX and _SECRET_NAME.search(name) is not None


def is_card(digits: str) -> bool:
    """Whether it has the length, the first digit and the check digit (Luhn) of a payment card. Cards that are in use
    start with 2 to 6; 1 is what times in milli- and microseconds start with."""
    if not 13 <= len(digits) <= 19 or not "2" <= digits[0] <= "6" or not digits.isascii():
        return False
    numbers = digits.encode()[::-1]
    total = sum(numbers[::2]) - _ZERO * len(numbers[::2]) + sum(numbers[1::2].translate(_DOUBLED))
    return total % 10 == 0


def cut(text: str, spans: Iterable[Span], mark: str) -> str:
    """Spans come in order; of those that overlap, the later gives way."""
    parts: list[str] = []
    end = 0
    for start, stop in spans:
        if stop > end:
            parts += (text[end : max(start, end)], mark)
            end = stop
    return "".join((*parts, text[end:])) if parts else text


def has_open_private_key(text: str) -> bool:
    """Whether a private key begins in this text and does not end in it."""
    starts = [start.end() for start in _KEY_START.finditer(text)] if "PRIVATE KEY" in text else []
    return bool(starts) and not _KEY_END.search(text, starts[-1])


def ends_private_key(text: str) -> bool:
    return _KEY_END.search(text) is not None


_ESCAPE = re.compile(
    r"(?<!\\)\\+u(?:(?P<high>d[89ab][0-9a-f]{2})\\+u(?P<low>d[c-f][0-9a-f]{2})|(?P<code>[0-9a-f]{4}))",
    re.ASCII | re.IGNORECASE,
)
_ZERO = ord("0")
_DOUBLED = bytes.maketrans(b"0123456789", bytes([0, 2, 4, 6, 8, 1, 3, 5, 7, 9]))
_NAME_MAX = 100


@dataclass(frozen=True, slots=True)
class _Kind:
    """One of *needles* is in whatever *pattern* finds. Its group, where it has one, is what is replaced."""

    mark: str
    needles: tuple[str, ...]
    pattern: re.Pattern[str]


# None asks for the start of a word: in JSON within JSON a key may follow the `n` of an escaped line break.
_KINDS = (
    _Kind("[redacted:anthropic-key]", ("sk-ant-",), re.compile(r"sk-ant-[A-Za-z0-9_-]{8,}")),
    _Kind("[redacted:nexus-key]", ("nxs_live_",), re.compile(r"nxs_live_[A-Za-z0-9_-]{8,}")),
    _Kind(
        "[redacted:key]",
        ("sk-",),
        re.compile(r"sk-(?:(?:proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{16,}|[A-Za-z0-9]{20,})"),
    ),
    _Kind("[redacted:key]", ("k_live_", "k_test_"), re.compile(r"[sr]k_(?:live|test)_[A-Za-z0-9]{10,}")),
    _Kind("[redacted:key]", ("AKIA", "ASIA"), re.compile(r"A[KS]IA[A-Z0-9]{16}")),
    _Kind("[redacted:key]", ("AIza",), re.compile(r"AIza[A-Za-z0-9_-]{30,}")),
    _Kind("[redacted:token]", ("ya29.",), re.compile(r"ya29\.[A-Za-z0-9_-]{20,}")),
    _Kind("[redacted:token]", ("gh",), re.compile(r"gh[opusr]_[A-Za-z0-9]{16,}")),
    _Kind("[redacted:token]", ("github_pat_",), re.compile(r"github_pat_[A-Za-z0-9_]{16,}")),
    _Kind("[redacted:token]", ("glpat-",), re.compile(r"glpat-[A-Za-z0-9_-]{16,}")),
    _Kind("[redacted:token]", ("xox", "xapp-"), re.compile(r"x(?:ox[a-z](?:\.xox[a-z])?|app)-[A-Za-z0-9-]{10,}")),
    _Kind("[redacted:token]", ("hooks.slack.com/",), re.compile(r"hooks\.slack\.com/([a-z]+/[A-Za-z0-9_/-]{16,})")),
    _Kind("[redacted:password]", ("://",), re.compile(r"://[^\s/:@\"'\\]*:(?!\[redacted:)([^\s/@\"'\\]+)@")),
)

# A run without dots is matched too, and then left: passed over once, not again at each `eyJ` within it.
_JWT = re.compile(r"eyJ[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_.-]*)?")

# These two run over lower-case text.
_BEARER = re.compile(r"bearer[ \t]{1,4}((?=[\w.~+/=-]{0,64}[0-9])[\w.~+/=-]{8,}|[\w.~+/=-]{20,})", re.ASCII)
_KEY_OF = ("api", "access", "private", "auth", "account", "signing", "encryption", "license", "secret")
_NAMES = ("pass", "pwd", "secret", "token", "credential", "authorization", "key")
_VALUE = r"""
    (?!\[redacted:|(?:str|string|bytes|int|integer|number|bool|boolean|none|null|undefined|true|false)\b)
    (?: \\{0,7}" (?!\[redacted:) ((?:[^"\\\n]|\\[^"\n]){3,})
      | \\{0,7}' (?!\[redacted:) ((?:[^'\\\n]|\\[^'\n]){3,})
      | ([^\s"'`\\,;&<>(){}\[\]]{4,}[^\s"'`\\,;&<>]*) )"""
# To be matched where one of the names begins.
_ASSIGNMENT = re.compile(
    r"(?: pass(?:word|wd|phrase|code) | (?<=[_-])pass | pwd | secret | token | credential | authorization | (?:"
    + "|".join(f"(?<={word})|(?<={word}[_-])" for word in _KEY_OF)
    + r""")key )
    (?: >                                                                  # <password>…
      | \\{0,7}["'`]? [ \t]{0,4}                                           # JSON within JSON quotes the name like this
        (?: :[ ]?[\w.|\[\]]{1,30}(?:[ ][|][ ]\w{1,30})?[ ]?= | => | :?=?= | : ) # a type may stand between
        [ \t]{0,4} (?:(?:basic|bearer|token)[ ]{1,2})?+ )"""
    + _VALUE,
    re.ASCII | re.VERBOSE,
)
_OPTION = re.compile(
    r"--(?:[a-z]{1,20}-){0,3}(?:password|passphrase|token|secret|[a-z]{0,20}key)[ \t]{1,4}(?!-)" + _VALUE,
    re.ASCII | re.VERBOSE,
)
_SECRET_NAME = re.compile(
    r"(?:pass(?:word|wd|phrase|code)|[_-]pass|pwd|secret|token|credential|authorization|cookie"
    r"|(?:api|access|private|auth|account|signing|encryption|license|secret)[_-]?key)$",
    re.ASCII | re.IGNORECASE,
)

_KEY_START = re.compile(r"-{4,5} ?BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,10}-{4,5}")
_KEY_END = re.compile(r"-{4,5} ?END [A-Z0-9 ]{0,60}-{0,5}")

_EMAIL_DOMAINS = (
    ("@", re.compile(r"@(?:[^\W_][\w-]{0,62}\.){1,8}[^\W\d_]{2,24}")),
    ("%40", re.compile(r"%40(?:[^\W_][\w-]{0,62}\.){1,8}[^\W\d_]{2,24}")),
)
_EMAIL_NAME_MAX = 64
_EMAIL_NAME_BACKWARDS = re.compile(r"[\w.+%!#$&*^~-]+(?:'[\w.+%!#$&*^~-]+)*")

_DIGITS_AND_SPACES = re.compile(r"[0-9][0-9 \u00a0-]{11,}[0-9]")  # quick, and leaves little to the next
_DIGITS = re.compile(r"(?<![0-9])(?<![0-9]\.)[0-9](?:[ \u00a0-]?[0-9]){12,}")  # not the decimals of a fraction
_GROUPED_CARD = re.compile(
    r"(?<![0-9])(?=((?:[0-9]{13,19}|[0-9]{4}(?:[ \u00a0-][0-9]{4}){3}|[0-9]{4}[ \u00a0-][0-9]{6}[ \u00a0-][0-9]{4,5}))"
    r"(?![0-9]))"
)
_NOT_DIGITS = str.maketrans("", "", " \u00a0-")


def _redacted(text: str) -> str:
    if "PRIVATE KEY" in text:
        text = cut(text, _private_keys(text), PRIVATE_KEY)
    for kind in _KINDS:
        if any(needle in text for needle in kind.needles):
            text = cut(text, (match.span(match.lastindex or 0) for match in kind.pattern.finditer(text)), kind.mark)
    if "eyJ" in text:
        text = cut(text, (match.span() for match in _JWT.finditer(text) if match[1]), "[redacted:token]")
    text = _without_assigned(text)
    for needle, domain in _EMAIL_DOMAINS:
        if needle in text:
            text = cut(text, _emails(text, domain), "[redacted:email]")
    return cut(text, _cards(text), CARD)


def _unescaped(escape: re.Match[str]) -> str:
    if escape["high"]:
        return bytes.fromhex(escape["high"] + escape["low"]).decode("utf-16-be")
    code = int(escape["code"], 16)
    return "\ufffd" if 0xD800 <= code < 0xE000 else chr(code)


def _private_keys(text: str) -> Iterator[Span]:
    """A key that was cut off reaches to the end of the text: where else is not to be known."""
    end = 0
    while start := _KEY_START.search(text, end):
        stop = _KEY_END.search(text, start.end())
        end = stop.end() if stop else len(text)
        yield start.start(), end


def _without_assigned(text: str) -> str:
    """Passwords and tokens that only their names give away."""
    low = _lower(text)
    if "bearer" in low:
        text = cut(text, (match.span(1) for match in _BEARER.finditer(low)), "[redacted:token]")
        low = _lower(text)
    return cut(text, sorted(_assigned(low)), SECRET)


def _assigned(low: str) -> Iterator[Span]:
    """Looks for each name first: one pattern of all names took ten times as long."""
    for name in _NAMES:
        at = low.find(name)
        while at >= 0:
            match = _ASSIGNMENT.match(low, at)
            if match:
                yield match.span(match.lastindex or 0)
            at = low.find(name, match.end() if match else at + len(name))
    if "--" in low:
        yield from (match.span(match.lastindex or 0) for match in _OPTION.finditer(low))


def _lower(text: str) -> str:
    """In lower case, each letter in its place: İ alone would become two."""
    return text.replace("\u0130", "I").lower()


def _emails(text: str, domain: re.Pattern[str]) -> Iterator[Span]:
    for match in domain.finditer(text):
        before = text[max(0, match.start() - _EMAIL_NAME_MAX) : match.start()]
        if name := _EMAIL_NAME_BACKWARDS.match(before[::-1]):
            yield match.start() - name.end(), match.end()


def _cards(text: str) -> Iterator[Span]:
    for stretch in _DIGITS_AND_SPACES.finditer(text):
        for run in _DIGITS.finditer(text, *stretch.span()):
            if is_card(run[0].translate(_NOT_DIGITS)):
                yield run.span()
                continue
            for group in _GROUPED_CARD.finditer(run[0]):
                if is_card(group[1].translate(_NOT_DIGITS)):
                    yield run.start() + group.start(1), run.start() + group.end(1)
