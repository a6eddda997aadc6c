"""The doctor: finds what would brick, weaken or surprise, before anything is made.

A rule is a small object in a file about its subject; a new rule joins that file's ``RULES`` and nothing else changes.
"""

from __future__ import annotations

from secure_ext.errors import UsageError
from secure_ext.plan.doctor import (
    boards,
    boot,
    firmware,
    fit,
    images,
    keys,
    lockdown,
    nvs,
    openings,
    partitions,
    start,
    tee,
    updates,
)
from secure_ext.plan.doctor.rule import Finding, Rule, Severity, Subject

FILES = (fit, images, boards, firmware, boot, start, openings, lockdown, updates, partitions, tee, keys, nvs)
"""The files with rules."""

ALL_RULES: tuple[Rule, ...] = tuple(sorted((rule for file in FILES for rule in file.RULES), key=lambda rule: rule.code))
"""Every rule, by code."""


def examine(subject: Subject) -> tuple[Finding, ...]:
    """Everything the rules find, worst first, then by code.

    Raises UsageError SE405 when the policy accepts a code that does not exist or that can never be accepted.
    """
    accepted = subject.policy.accepted_findings
    acceptable = {rule.code for rule in ALL_RULES if rule.acceptable}
    for code in sorted(accepted - acceptable):
        exists = any(rule.code == code for rule in ALL_RULES)
        raise UsageError(
            "SE405",
            f"{code} can never be accepted: going on would brick the board" if exists else f"{code} is no finding",
            cure="take it out of doctor.accept and --accept",
            place="doctor.accept",
        )
    findings = [
        Finding(
            rule.code,
            rule.severity,
            hit.place,
            hit.cause,
            hit.cure or rule.cure,
            accepted=rule.acceptable and rule.code in accepted,
            can_be_accepted=rule.acceptable,
        )
        for rule in ALL_RULES
        for hit in rule.check(subject)
    ]
    order = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
    return tuple(sorted(findings, key=lambda finding: (order[finding.severity], finding.code)))
