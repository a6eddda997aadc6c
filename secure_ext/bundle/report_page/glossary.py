"""The words that a reader may not know."""

from __future__ import annotations

from secure_ext.bundle.report_page.element import Element, el, section

_WORDS = (
    ("Bundle", "the folder that this page is in: everything one kind of board needs."),
    ("Digest", "a short number computed from a key or a file, by which the chip recognises it."),
    (
        "Download mode",
        "the service entrance of the chip: over a serial cable its built-in loader reads, writes and burns.",
    ),
    (
        "eFuse",
        "a switch inside the chip that can be turned on once and never off again; turning it on is called burning.",
    ),
    ("Flash", "the board's memory that keeps the software when the power is off; it can be rewritten."),
    ("Flash encryption", "the chip keeps its software in secret writing; copied memory is worthless."),
    ("Image", "a file that is written into flash as it is."),
    ("JTAG", "a connection for engineers, to look into a running chip."),
    ("Key block", "a row of eFuses that holds one key."),
    ("NVS", "the part of the flash where the firmware keeps its settings."),
    ("Read-protected", "nobody can read it any more, only the chip's own cipher hardware uses it."),
    ("Revoke", "to declare a place for a signing key closed, for ever."),
    ("ROM", "the part of the chip's software that was made with the chip and starts everything else."),
    ("Secure boot", "the chip starts only software that carries the right signature."),
    ("Write-protected", "nobody can burn further bits there."),
)


def glossary_section() -> Element:
    """The part of the page that explains its words."""
    return section(
        "words",
        "Words",
        el("dl", [el("div", el("dt", word), el("dd", meaning)) for word, meaning in _WORDS], class_="glossary"),
    )
