"""The doctor: finds what would brick, weaken or surprise, before anything is made.

A rule is a small object in a file about its subject; a new rule joins that file's ``RULES`` and nothing else changes.
"""

from __future__ import annotations

from secure_ext.plan.doctor import firmware, fit, images, keys, lockdown, partitions
from secure_ext.plan.doctor.rule import Finding, Rule, Severity, Subject

ALL_RULES: tuple[Rule, ...] = (
    *fit.RULES,
    *images.RULES,
    *firmware.RULES,
    *lockdown.RULES,
    *partitions.RULES,
    *keys.RULES,
)


def examine(subject: Subject) -> tuple[Finding, ...]:
    """Everything the rules find, worst first, then by code."""
    accepted = subject.policy.accepted_findings
    findings = [
        Finding(rule.code, rule.severity, hit.place, hit.cause, hit.cure, rule.acceptable and rule.code in accepted)
        for rule in ALL_RULES
        for hit in rule.check(subject)
    ]
    order = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
    return tuple(sorted(findings, key=lambda finding: (order[finding.severity], finding.code)))
