# SPDX-License-Identifier: Apache-2.0
"""The doctor on a project as it is configured, before it is built."""

from __future__ import annotations

from secure_ext.build.configured import ConfiguredProject, not_built_yet
from secure_ext.build.kconfig_tree import load_kconfig_tree
from secure_ext.build.table_generator import generated_table, integer_of, table_source, table_text
from secure_ext.doctor.decide import Decision, decide_on
from secure_ext.formats.partition_table import DEFAULT_TABLE_OFFSET
from secure_ext.policy.profile import Profile


def decide_as_configured(project: ConfiguredProject, profile: Profile) -> Decision:
    """With the sdkconfig and the CSV that are there. Raises the errors of reading them, and of `decide_on`."""
    tree = load_kconfig_tree(project)
    source = table_source(project, tree)
    text = table_text(source)
    table = generated_table(
        project, tree, text, integer_of(tree, "PARTITION_TABLE_OFFSET", DEFAULT_TABLE_OFFSET), source
    )
    return decide_on(not_built_yet(project, tree.values(), table), profile)
