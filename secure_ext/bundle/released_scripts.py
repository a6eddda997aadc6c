# SPDX-License-Identifier: Apache-2.0
"""``provision.py`` as earlier releases rendered it: no version runs another's code, but one can tell it from a forgery.

Such a script is a head, the plan as a table, and the runner. Head and table are rendered again from the plan; of the
runner, which is the same in every bundle of a release, the hash is known.
"""

from __future__ import annotations

import hashlib

from secure_ext.bundle.script import script_head, script_table
from secure_ext.station.plan_document import PlanDocument

_RUNNER_BEGINS = "# ---- secure_ext."
_RUNNERS = {"0.1.0": "56340e0b337df0a1985362ba7139a39f5ea5694fea3858ab6a4279c24bfe0c7c"}
"""By release: SHA-256 of the script from its first module on."""


def is_released_script(text: str, version: str, document: PlanDocument, project: str) -> bool:
    """Whether `text` is what the release `version` made of a plan document; False for releases that are not known."""
    begin = text.find(_RUNNER_BEGINS)
    if begin < 0 or _RUNNERS.get(version) != hashlib.sha256(text[begin:].encode()).hexdigest():
        return False
    parts = (script_head(document, project, version), "from __future__ import annotations", script_table(document))
    return text[:begin] == "".join(part + "\n\n" for part in parts)
