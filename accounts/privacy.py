"""How much of a domain's requests the record keeps. Free of Django: the hot path asks too."""

from enum import StrEnum


class Storage(StrEnum):
    """From most to least."""

    FULL = "full"
    """Figures, previews, headers and bodies as they were."""
    REDACTED = "redacted"
    """The same, with secrets and personal data replaced in the stored copy."""
    METADATA = "metadata"
    """Figures, sessions and callers; nothing of what was said."""
    NONE = "none"
    """Figures only: not who called from where, nor in which session."""

    @property
    def label(self) -> str:
        return _LABELS[self]

    @property
    def keeps_bodies(self) -> bool:
        return self in (Storage.FULL, Storage.REDACTED)


_LABELS = {
    Storage.FULL: "full: figures and bodies",
    Storage.REDACTED: "redacted: bodies without secrets and personal data",
    Storage.METADATA: "metadata: figures, sessions and callers, no bodies",
    Storage.NONE: "none: bare figures",
}
