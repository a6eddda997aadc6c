# SPDX-License-Identifier: Apache-2.0
"""No consistent forgery ends with exit 0 where the build is at hand; and none that would end a board anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from forger import KEY, Forged
from forgeries import ALONE, BUILD, FORGERIES, KEYS, Forgery
from verify_bundles import Made, encrypted_bundle  # noqa: F401 (a fixture)

from secure_ext.checks import Outcome
from secure_ext.prove.verify.options import Repeated
from secure_ext.prove.verify.rebuild import BuildAtHand
from secure_ext.prove.verify.verify import AtHand, verify_files


@pytest.fixture(scope="session")
def original(encrypted: Made) -> Forged:
    return Forged.of(encrypted)


def failures(forged: Forged, at_hand: AtHand) -> set[str]:
    return {c.name for c in verify_files(forged, at_hand).checks if c.outcome is Outcome.FAILED}


def with_build(forged: Forged) -> AtHand:
    return AtHand(BuildAtHand(forged.made.build, None, is_named=True))


def with_keys(forged: Forged) -> AtHand:
    """What the owner has: of the signing key the public half would do."""
    keys = Repeated(signing_keys=(str(forged.made.keys["rsa_0"]),))
    return AtHand(BuildAtHand(forged.made.build, None, is_named=True, repeated=keys), forged.made.folder / KEY)


NOTHING = AtHand(BuildAtHand(Path("no-build"), None))


def test_the_forger_makes_what_verify_accepts(original: Forged) -> None:
    """Otherwise any of its forgeries would be found for a mistake of the forger."""
    forged = original.copy().seal()
    assert forged.content["provision.py"] == original.content["provision.py"]
    for at_hand in (NOTHING, with_build(forged), with_keys(forged)):
        assert failures(forged, at_hand) == set()


@pytest.mark.parametrize("forgery", FORGERIES, ids=[forgery.name for forgery in FORGERIES])
def test_it_is_seen(forgery: Forgery, original: Forged) -> None:
    forged = original.copy()
    render = forgery.forge(forged)
    forged.seal(render) if callable(render) else forged.seal()
    alone, build = failures(forged, NOTHING), failures(forged, with_build(forged))
    if forgery.seen_with == ALONE:
        assert alone
    else:
        assert alone == set(), "less is needed to see it than is said"
    if forgery.seen_with == KEYS:
        assert build == set(), "less is needed to see it than is said"
        assert failures(forged, with_keys(forged))
    else:
        assert build


def test_they_are_many_of_each_kind() -> None:
    assert len({forgery.name for forgery in FORGERIES}) == len(FORGERIES) >= 60
    for seen_with, number in ((ALONE, 30), (BUILD, 20), (KEYS, 2)):
        assert sum(forgery.seen_with == seen_with for forgery in FORGERIES) >= number
