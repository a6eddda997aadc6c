"""Rules about the images themselves."""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.plan.doctor.rule import Hit, Rule, Severity, Subject
from secure_ext.project.build import Role
from secure_ext.project.image import is_secure_padded


def _right_chip(subject: Subject) -> Iterator[Hit]:
    for image in subject.images:
        if image.header is not None and image.header.chip != subject.chip.name:
            yield Hit(
                image.source,
                f"the image is for {image.header.chip}, the project for {subject.chip.name}",
                "build again from scratch: idf.py fullclean build",
            )


def _padded(subject: Subject) -> Iterator[Hit]:
    page = subject.build.config.integer("MMU_PAGE_SIZE") or subject.chip.facts.mmu_page_size
    for image in subject.images:
        if image.role is Role.APP and image.sign and image.header is not None:
            if not is_secure_padded(image.content, image.header, page):
                yield Hit(
                    image.source,
                    f"the app does not end on a {page // 1024} KB page, so bytes behind it are mapped but not signed",
                    "build with secure boot on and without SECURE_BOOT_ALLOW_SHORT_APP_PARTITION",
                )


def _signed_by_build(subject: Subject) -> Iterator[Hit]:
    for image in subject.images:
        if image.signed_already and image.sign:
            yield Hit(
                image.source,
                "the build has signed this image; its signatures are verified and kept, missing ones are appended",
                "nothing to do",
            )


def _signed_without_secure_boot(subject: Subject) -> Iterator[Hit]:
    for image in subject.images:
        if image.signed_already and not image.sign:
            yield Hit(
                image.source,
                "the image is signed, but secure boot is off: the chip will not check the signature",
                "turn secure boot on, if that was meant",
            )


RULES = (
    Rule("SP010", Severity.ERROR, "image is for another chip", _right_chip, False),
    Rule("SP011", Severity.WARNING, "app is not padded for secure boot", _padded),
    Rule("SP012", Severity.INFO, "image is signed by the build", _signed_by_build),
    Rule("SP013", Severity.WARNING, "signed image without secure boot", _signed_without_secure_boot),
)
