# SPDX-License-Identifier: Apache-2.0
"""The words that a reader may not know."""

from __future__ import annotations

from secure_ext.report.element import Element, el, section

_WORDS = (
    ("Bootloader", "the small software that starts first from flash, looks at what is there, and starts the rest."),
    ("Brick", "to make a board useless for good."),
    ("Bundle", "the folder that this page is in: everything one kind of board needs."),
    ("Ciphertext", "what encryption makes: without the key it looks like random bytes."),
    ("Digest", "a short number computed from a key or a file, by which the chip recognises it."),
    (
        "Doctor",
        "the part of this tool that looks for faults in project and settings before a bundle is made; what it says "
        "is a finding.",
    ),
    (
        "Download mode",
        "the service entrance of the chip: over a serial cable its built-in loader reads, writes and burns. In secure "
        "download mode it only writes.",
    ),
    (
        "eFuse",
        "a switch inside the chip that can be turned on once and never off again; turning it on is called burning.",
    ),
    (
        "esptool, espefuse",
        "the chip maker's programs that write flash and burn eFuses over the cable; this program uses them.",
    ),
    ("Firmware", "the product's software on the board; on this page mostly called software."),
    ("Flash", "the board's memory that keeps the software when the power is off; it can be rewritten."),
    ("Flash encryption", "the chip keeps its software in secret writing; copied memory is worthless."),
    (
        "Hash, fingerprint",
        "the same as a digest: short, and different for every file or key; nobody can compute the key from it.",
    ),
    ("Image", "a file that is written into flash as it is."),
    ("JTAG", "a connection for engineers, to look into a running chip."),
    ("Key block", "a row of eFuses that holds one key."),
    ("KiB, MiB", "1024 bytes; 1024 KiB. Addresses are counted in bytes and written in hexadecimal, after 0x."),
    ("NVS", "the part of the flash where the software keeps its settings."),
    ("OTA", "an update over the air: the software fetches its successor itself, without a cable."),
    ("Partition table", "the list of partitions in the flash: where each begins, how large it is, what it is for."),
    (
        "Program",
        "on this page the one that provisions boards with this folder; it is also called script.",
    ),
    ("Provisioning", "to give a new board its software, keys and protections."),
    ("Read-protected", "nobody can read it any more, only the chip's own cipher hardware uses it."),
    ("Revoke", "to declare a place for a signing key closed, for ever."),
    ("ROM", "the part of the chip's software that was made with the chip and starts everything else."),
    ("Secure boot", "the chip starts only software that carries the right signature."),
    ("Signature", "a proof, made with a private key, of who made a file; the chip checks it with the public half."),
    ("Slot", "a place: for a signing key in the chip, or for one of two versions of the software in flash."),
    ("Virtual chip", "software that behaves like the chip, to try everything without a board."),
    ("Write-protected", "nobody can burn further bits there."),
    (
        "XTS_AES_128",
        "a kind of flash encryption. Its key has 256 bits, two halves of 128 bits each; with XTS_AES_256 it has 512, "
        "in two blocks.",
    ),
)


def glossary_section() -> Element:
    """The part of the page that explains its words."""
    return section(
        "words",
        "Words",
        el("dl", [el("div", el("dt", word), el("dd", meaning)) for word, meaning in _WORDS], class_="glossary"),
    )
