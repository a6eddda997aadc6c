# SPDX-License-Identifier: Apache-2.0
"""The doctor: finds what would brick, weaken or surprise, before anything is made.

A rule is a small object in a file about its subject; a new rule joins that file's ``RULES`` and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Iterable

from secure_ext.doctor import (
    boards,
    boards_in_field,
    boot,
    bootloaders,
    custom_mac,
    extra_keys,
    firmware,
    fit,
    flashed,
    identity,
    images,
    keys,
    lockdown,
    making,
    nvs,
    openings,
    partitions,
    signatures,
    signed_updates,
    start,
    tee,
    unplanned,
    updates,
)
from secure_ext.doctor.rule import Finding, Match, Rule, Severity, Subject, Unseen
from secure_ext.errors import UsageError
from secure_ext.station.frozen import frozen

FILES = (
    fit,
    images,
    firmware,
    boot,
    start,
    openings,
    lockdown,
    updates,
    partitions,
    tee,
    keys,
    extra_keys,
    identity,
    nvs,
    boards,
    boards_in_field,
    custom_mac,
    flashed,
    signed_updates,
    signatures,
    bootloaders,
    unplanned,
    making,
)
"""The files with rules."""

ALL_RULES: tuple[Rule, ...] = tuple(sorted((rule for file in FILES for rule in file.RULES), key=lambda rule: rule.code))
"""Every rule, by code."""


@frozen
class Examination:
    """What the rules found, worst first, then by code; and what they could not see, by rule."""

    findings: tuple[Finding, ...]
    unseen: tuple[tuple[Rule, Unseen], ...] = ()


def examine(subject: Subject) -> tuple[Finding, ...]:
    """Everything the rules find, worst first, then by code. Raises as `examination`."""
    return examination(subject).findings


def examination(subject: Subject) -> Examination:
    """Asks every rule that concerns such a subject.

    Raises UsageError SE405 when the policy accepts a code that does not exist, that can never be accepted, or that
    cannot be accepted where it was found.
    """
    accepted = subject.policy.accepted_findings
    known = {rule.code: rule for rule in ALL_RULES}
    for code in sorted(accepted):
        if code not in known or known[code].acceptable is False:
            raise _not_acceptable(known.get(code), code)
    return _asked(ALL_RULES, subject)


def examine_making(subject: Subject) -> tuple[Finding, ...]:
    """What only the run that makes the bundle can find; `subject` has its `Making`."""
    of_kept_keys = (rule for rule in keys.RULES if rule.code in keys.OF_KEPT_KEYS)
    return _asked((*making.RULES, *of_kept_keys), subject).findings


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings, worst first, then by code."""
    order = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
    return tuple(sorted(findings, key=lambda finding: (order[finding.severity], finding.code)))


def _asked(rules: Iterable[Rule], subject: Subject) -> Examination:
    accepted = subject.policy.accepted_findings
    findings: list[Finding] = []
    unseen: list[tuple[Rule, Unseen]] = []
    for rule in rules:
        if not rule.is_asked_about(subject):
            continue
        seen = tuple(rule.check(subject))
        unseen += [(rule, one) for one in seen if isinstance(one, Unseen)]
        matches = [one for one in seen if isinstance(one, Match)]
        acceptable = bool(matches) and rule.may_be_accepted(subject)
        if matches and rule.code in accepted and not acceptable:
            raise _not_acceptable(rule, rule.code)
        findings += [_finding(rule, match, rule.code in accepted, acceptable) for match in matches]
    return Examination(in_order(findings), tuple(unseen))


def _finding(rule: Rule, match: Match, accepted: bool, acceptable: bool) -> Finding:
    return Finding(
        rule.code,
        rule.severity,
        match.place,
        match.cause,
        match.cure or rule.cure,
        accepted=accepted,
        can_be_accepted=acceptable,
        settings=() if match.cure else rule.settings,
    )


def _not_acceptable(rule: Rule | None, code: str) -> UsageError:
    cause = f"{code} is not a finding"
    if rule is not None:
        cause = f"{code} can never be accepted: {rule.why or 'going on would brick the board'}"
        if callable(rule.acceptable):
            cause = f"{code} cannot be accepted here: {rule.why}"
    return UsageError("SE405", cause, cure="take it out of doctor.accept and --accept", place="doctor.accept")
