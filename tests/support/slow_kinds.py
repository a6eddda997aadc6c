# SPDX-License-Identifier: Apache-2.0
"""Tests whose cases take long: how many of their cases `make test` runs, spread over all of them; the others are long.

A case proves what its neighbours prove, of another chip or another fault; the whole matrix runs in `make test-all`, and
a part of it each day (`make test-share`). Which they are was measured (``pytest --durations=0``).
"""

from __future__ import annotations

from collections import defaultdict

import pytest

QUICK_CASES = {
    "audit/test_boards_on_a_port.py": {
        "test_a_board_whose_download_mode_is_disabled_does_not_answer": 0,
    },
    "boot/test_agrees_with_the_doctor.py": {
        "test_the_boot_check_refuses_what_the_doctor_refuses": 1,
    },
    "boot/test_app_start.py": {
        "test_what_cannot_be_seen_is_said": 2,
        "test_what_does_not_stop_it_is_none": 2,
        "test_what_stops_the_firmware_is_a_fault": 1,
    },
    "boot/test_boot_check.py": {
        "test_a_flash_that_ends_anywhere_is_a_fault": 2,
        "test_a_preview_chip_boots": 1,
        "test_a_wrong_sha256_in_a_signed_image_is_a_fault_that_boots": 1,
        "test_no_key_is_told": 2,
        "test_unreadable_files_are_a_fault": 2,
    },
    "boot/test_header_flash_size.py": {
        "test_the_flash_must_hold_what_the_header_says": 1,
    },
    "boot/test_second_bootloader.py": {
        "test_what_the_rom_would_not_start": 4,
    },
    "bundle/test_kept_keys.py": {
        "test_a_weak_key_in_the_home_is_refused": 1,
        "test_the_place_of_the_homes_is_nobody_elses": 1,
        "test_what_the_repository_ignores_itself_is_no_finding": 1,
    },
    "bundle/test_key_home.py": {
        "test_a_bundle_of_something_else_is_replaced_only_when_told": 1,
    },
    "bundle/test_planted_keys.py": {
        "test_a_planted_key_at_home_is_not_used": 1,
        "test_a_planted_key_in_a_bundle_is_not_taken_over": 1,
    },
    "bundle/test_readable.py": {
        "test_nobody_believes_that_plaintext_is_encrypted": 2,
    },
    "bundle/test_script.py": {
        "test_a_damaged_bundle_is_refused_before_anything": 3,
        "test_a_project_name_is_never_code": 1,
        "test_every_imported_name_is_defined_in_the_script": 1,
        "test_it_is_python_3_9": 1,
        "test_it_needs_no_package_but_the_standard_library": 2,
        "test_it_runs_on_a_real_python_3_9": 1,
        "test_without_esptool_it_says_so": 1,
    },
    "bundle/test_texts_of_a_plan.py": {
        "test_no_command_reads_a_plan_whose_words_are_several_lines": 3,
        "test_the_script_has_the_same_statements_whatever_a_plan_says": 1,
    },
    "cli/test_bad_input.py": {
        "test_bad_input": 2,
    },
    "cli/test_forbidden_folders.py": {
        "test_a_folder_that_may_not_be_entered": 1,
        "test_a_home_and_a_place_for_temporary_files_that_may_not_be_entered": 1,
        "test_a_plain_flash_is_not_kept_from_its_work": 3,
        "test_no_room_anywhere": 1,
    },
    "cli/test_interrupted_output.py": {
        "test_as_a_program": 1,
        "test_files_cannot_grow": 1,
        "test_interrupted": 1,
        "test_two_bundles_at_once": 1,
    },
    "cli/test_no_secret_leaks.py": {
        "test_demo_shows_no_secret": 0,
        "test_generated_secret_is_not_shown": 1,
        "test_generated_signing_key_is_not_shown": 1,
        "test_modes_of_the_keys": 1,
        "test_no_file_but_the_keys_holds_a_secret": 1,
        "test_no_output_and_no_process_list_shows_a_secret": 1,
        "test_no_temporary_file_is_left": 1,
        "test_the_search_finds_what_is_there": 1,
    },
    "device/test_call_script.py": {
        "test_the_end_is_left_to_the_script": 1,
    },
    "device/test_efuse_owner.py": {
        "test_each_field_is_somebodys_and_what_is_nobodys_else_is_named": 4,
    },
    "device/test_full_disk.py": {
        "test_a_finished_board_is_finished_though_the_journal_cannot_say_so": 0,
    },
    "device/test_plain_commands.py": {
        "test_a_declined_burn_is_not_sealed": 0,
    },
    "device/test_plan_check.py": {
        "test_a_plan_of_this_tool_is_fine": 1,
        "test_nothing_beside_the_script_is_imported": 1,
        "test_the_script_of_a_lethal_plan_touches_nothing": 2,
    },
    "device/test_progress.py": {
        "test_without_one": 0,
    },
    "device/test_provision_on_a_port.py": {
        "test_a_board_that_does_not_suit_is_left_alone": 1,
        "test_a_changed_flash_is_written_again": 0,
        "test_a_failed_burn_can_be_continued": 0,
        "test_each_board_has_a_journal_and_a_log_of_its_own": 0,
        "test_it_can_be_reset_at_the_end": 0,
    },
    "device/test_tool_faults.py": {
        "test_a_package_that_cannot_be_imported": 1,
        "test_it_breaks_in_the_middle_and_the_next_run_goes_on": 0,
        "test_the_computer_is_named_and_the_board_is_not": 1,
    },
    "device/test_uninterrupted_burn.py": {
        "test_the_burn_ends_before_the_script_does": 1,
    },
    "docs/test_documentation.py": {
        "test_the_commands_of_a_page_run": 1,
    },
    "doctor/test_pages.py": {
        "test_the_page_of_a_rule_is_made_of_the_rule": 3,
    },
    "doctor/test_rules.py": {
        "test_rule_finds_further_cases": 5,
        "test_rule_finds_its_case": 4,
        "test_what_would_brick_cannot_be_accepted": 3,
    },
    "doctor/test_updates.py": {
        "test_an_error_of_an_update_is_accepted_where_it_says_so_and_nowhere_else": 2,
        "test_what_does_not_fit_the_boards_is_found": 2,
    },
    "idf/test_as_component.py": {
        "test_a_rehearsal_runs": 0,
    },
    "idf/test_asked_at_a_terminal.py": {
        "test_an_older_bundle_is_asked_about": 1,
        "test_of_two_bundles_with_different_keys_one_is_chosen": 1,
    },
    "idf/test_build_hook.py": {
        "test_an_error_fails_the_build_with_its_code_and_cure": 1,
        "test_it_runs_after_the_images_and_only_once": 1,
        "test_it_runs_again_when_something_changed": 1,
        "test_it_waits_for_data_images": 1,
    },
    "idf/test_ci_snippets.py": {
        "test_a_key_that_is_not_named_fails_the_job": 1,
        "test_the_script_runs_and_verifies_and_leaves_no_key": 1,
    },
    "idf/test_guard.py": {
        "test_the_guard_knows_what_the_chip_decrypts": 2,
    },
    "idf/test_which_bundle.py": {
        "test_a_release_that_was_copied_away_is_taken": 1,
        "test_it_is_the_one_that_was_made_wherever_that_is": 1,
        "test_one_that_is_not_older_is_taken": 1,
        "test_one_that_is_older_than_the_build_is_refused": 1,
        "test_two_with_different_keys_are_a_question": 1,
    },
    "images/test_espsecure_agrees.py": {
        "test_each_tool_adds_to_the_signatures_of_the_other": 1,
        "test_espsecure_accepts_our_signatures": 1,
        "test_we_accept_what_espsecure_signs_and_appends": 1,
    },
    "keys/test_signing_keys.py": {
        "test_unusable_file_is_refused_by_both_loaders": 1,
    },
    "matrix/test_chip_matrix.py": {
        "test_espsecure_reads_every_image_back": 1,
        "test_the_script_provisions_a_blank_chip": 1,
    },
    "matrix/test_foreign.py": {
        "test_a_foreign_chip_is_refused_and_left_alone": 1,
    },
    "matrix/test_interrupted.py": {
        "test_a_power_cut_after_any_write_is_mended_by_the_next_run": 0,
    },
    "matrix/test_options.py": {
        "test_stages_can_be_run_one_by_one": 0,
    },
    "nvs/test_nvs_bundles.py": {
        "test_made_again_keeps_the_keys_and_saves_those_not_used_any_more": 1,
        "test_verify_reads_the_values_if_the_keys_are_at_hand": 1,
    },
    "ota/test_signed_data.py": {
        "test_what_is_no_data_for_a_partition": 3,
        "test_which_app_looks_at_it": 2,
    },
    "ota/test_refused_updates.py": {
        "test_a_refusal_has_its_code_and_writes_nothing": 2,
    },
    "ota/test_the_pair.py": {
        "test_an_update_that_does_not_fit_the_fleet_is_not_packed": 1,
    },
    "plan/test_user_block.py": {
        "test_they_are_burned_rehearsed_verified_and_audited": 0,
    },
    "per_device/test_destroying.py": {
        "test_the_word": 1,
        "test_what_a_killed_run_left_goes_too": 1,
    },
    "per_device/test_on_the_disk.py": {
        "test_the_journal_is_on_the_disk_before_the_first_burn": 0,
    },
    "per_device/test_records.py": {
        "test_a_consistent_forgery_is_refused": 3,
        "test_a_foreign_script_in_a_record_does_not_run": 0,
    },
    "per_device/test_rotation.py": {
        "test_a_spare_that_has_not_signed_the_bootloader_is_told": 1,
        "test_an_update_needs_one_trusted_key": 2,
    },
    "plan/test_recovery_bootloader.py": {
        "test_another_place_is_a_change_and_nothing_weaker": 2,
        "test_espefuse_puts_it_together_likewise": 1,
        "test_the_copy_and_its_place": 2,
        "test_the_least_version_is_the_bootloaders_own": 2,
    },
    "plan/test_order_property.py": {
        "test_builder_refuses_exactly_the_illegal_orders": 1,
        "test_every_plan_is_legal": 1,
        "test_every_swap_removal_and_repetition_of_the_full_plan": 4,
    },
    "plan/test_replay.py": {
        "test_every_plan_of_this_tool_is_read_back_as_it_was": 4,
    },
    "project/test_corpus_bundles.py": {
        "test_both_features_on_a_real_build": 1,
        "test_flash_encryption_of_a_real_build": 1,
    },
    "project/test_golden_plans.py": {
        "test_the_steps_of_every_cell_are_on_record": 1,
    },
    "reading/test_archives.py": {
        "test_a_bomb_is_no_archive": 1,
    },
    "reading/test_damaged_documents.py": {
        "test_a_plan": 4,
        "test_a_rehearsal": 3,
    },
    "reading/test_reading.py": {
        "test_hostile_files_cost_neither_time_nor_memory": 1,
    },
    "rehearsal/test_flash_sizes.py": {
        "test_a_good_build_passes_its_rehearsal": 0,
        "test_the_chip_has_the_block_revision_that_the_app_wants": 0,
    },
    "rehearsal/test_qemu.py": {
        "test_a_boot_that_fails_fails_the_rehearsal": 0,
        "test_an_esp32_is_one_as_it_is_sold": 0,
    },
    "report/test_report_in_chromium.py": {
        "test_every_text_has_enough_contrast": 1,
        "test_light_and_dark_are_different_papers": 1,
        "test_nothing_is_wider_than_the_screen": 1,
        "test_the_flash_map_is_to_scale": 1,
    },
    "signers/test_passphrases.py": {
        "test_descriptor": 1,
    },
    "signers/test_token_signer.py": {
        "test_espsecure_accepts_what_a_token_signed": 1,
        "test_refusals": 1,
    },
    "signers/test_who_signs_what.py": {
        "TestSignaturesOfTheBuild::test_image_of_another_key": 1,
        "test_plan_that_promises_more_signatures_is_found_out": 1,
        "test_signed_bootloader_is_used_again_without_its_key": 1,
        "test_spare_on_the_command_line": 1,
    },
    "structure/test_warm_python.py": {
        "test_a_program_says_the_same": 1,
    },
    "verify/test_alterations.py": {
        "test_an_alteration_is_seen": 3,
    },
    "verify/test_another_version.py": {
        "test_a_rehearsal_holds_what_a_rehearsal_writes": 1,
    },
    "verify/test_any_document.py": {
        "test_a_document_is_read_if_jsonschema_says_so": 1,
    },
    "verify/test_foreign_files.py": {
        "test_nobody_takes_a_bundle_with_it": 3,
    },
    "verify/test_forgeries.py": {
        "test_it_is_seen": 1,
    },
    "verify/test_per_device.py": {
        "test_a_board_can_be_audited_against_it": 1,
        "test_a_wrong_manifest_is_seen": 2,
    },
    "verify/test_repeated_options.py": {
        "test_a_build_that_is_named_must_fit": 1,
        "test_an_option_that_was_written_into_the_manifest": 2,
    },
    "verify/test_signed_manifest.py": {
        "test_securesystemslib_verifies_the_envelope": 1,
    },
    "virtual_chip/test_data_on_boards.py": {
        "test_a_board_whose_block_is_not_empty": 1,
    },
    "virtual_chip/test_any_packet.py": {
        "test_any_burn_only_sets_bits": 1,
        "test_no_packet_breaks_it_or_burns": 1,
        "test_no_register_write_burns_without_the_opcode": 1,
    },
    "virtual_chip/test_board_needs.py": {
        "test_the_board_is_refused_untouched_and_its_good_twin_is_not": 1,
    },
    "virtual_chip/test_burning.py": {
        "test_flags_whose_burn_was_cut_can_be_completed": 1,
    },
    "virtual_chip/test_closed_download_mode.py": {
        "test_an_esp32_closes_from_revision_3_on": 1,
    },
    "virtual_chip/test_espefuse_by_hand.py": {
        "test_a_field_is_burned_and_stays": 0,
    },
    "virtual_chip/test_esptool_by_hand.py": {
        "test_flash_is_read": 1,
        "test_flash_is_written_and_verified": 1,
    },
    "virtual_chip/test_hostile_clients.py": {
        "test_it_survives": 1,
    },
    "virtual_chip/test_protected_efuses.py": {
        "test_a_hidden_block_reads_zero_and_is_kept": 1,
        "test_a_locked_block_does_not_change": 2,
        "test_locked_fields_do_not_change_and_their_neighbours_do": 1,
        "test_what_shows_the_fuses_cannot_be_written": 2,
    },
    "virtual_chip/test_something_on_it.py": {
        "test_a_board_that_carries_something_is_not_erased": 1,
        "test_a_feature_that_was_on_before_the_flash_was_written": 0,
        "test_images_that_are_there_already_are_left_alone": 0,
    },
    "virtual_chip/test_swapped.py": {
        "test_at_a_connection": 0,
        "test_within_a_connection": 1,
    },
    "virtual_chip/test_wrong_board.py": {
        "test_a_board_that_was_used_otherwise": 1,
    },
    "virtual_chip/test_wrong_station.py": {
        "test_a_changed_file": 1,
    },
}
"""By file and test function, as in a node id."""


def mark_others_long(items: list[pytest.Item]) -> None:
    """Leaves of each such test the quick cases unmarked."""
    cases: dict[tuple[str, str], list[pytest.Item]] = defaultdict(list)
    for item in items:
        path, _, name = item.nodeid.partition("::")
        key = path.removeprefix("tests/"), name.partition("[")[0]
        if key[1] in QUICK_CASES.get(key[0], {}) and item.get_closest_marker("long") is None:
            cases[key].append(item)
    for (path, name), found in cases.items():
        wanted = QUICK_CASES[path][name]
        kept = {len(found) * number // wanted for number in range(wanted)}
        for number, item in enumerate(found):
            if number not in kept:
                item.add_marker(pytest.mark.long)
