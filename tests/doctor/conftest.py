"""The decision on each rule's case, made once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from doctor_cases import CASES, examine_case

from secure_ext.plan.decide import Decision


@pytest.fixture(scope="session")
def case_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Where the case of a code is: the profile's folder, with the project in it."""
    root = tmp_path_factory.mktemp("doctor-cases")
    return lambda code: root / code


@pytest.fixture(scope="session")
def case_decision(case_folder: Callable[[str], Path]) -> Callable[[str], Decision]:
    """The decision on the case of a code; its build must not be changed."""
    made: dict[str, Decision] = {}

    def decision(code: str) -> Decision:
        if code not in made:
            made[code] = examine_case(CASES[code], case_folder(code))
        return made[code]

    return decision
