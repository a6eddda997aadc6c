# SPDX-License-Identifier: Apache-2.0
"""Rules about the custom MAC address: has each board one of its own, and does the firmware find one?"""

from __future__ import annotations

from collections.abc import Iterator

from secure_ext.chips.mac_address import mac_text
from secure_ext.chips.user_block import user_block
from secure_ext.doctor.rule import Concern, Match, Rule, Severity, Subject
from secure_ext.plan.steps import BurnData

_SETTING = "ESP_MAC_USE_CUSTOM_MAC_AS_BASE_MAC"


def _one_address_for_all(subject: Subject) -> Iterator[Match]:
    address = subject.policy.user_block.custom_mac
    if address is not None:
        yield Match("profile: custom_mac", f"every board of this bundle gets the address {mac_text(address)}")


def _no_address(subject: Subject) -> Iterator[Match]:
    block = user_block(subject.chip)
    planned = [step.action for step in subject.plan.steps if isinstance(step.action, BurnData)]
    has_one = any(data.mac_list is not None or block.has_mac(data.data) for data in planned)
    may_bring_one = any(one.number == block.number for one in subject.plan.carried or ())
    if subject.build.config.enabled(_SETTING) and not has_one and not may_bring_one:
        yield Match(
            f"CONFIG_{_SETTING}", "the firmware takes its addresses from a custom MAC address that no board has"
        )


RULES = (
    Rule(
        "SP168",
        Severity.WARNING,
        "one custom MAC address for all boards",
        _one_address_for_all,
        explanation="`custom_mac` is one address, and it goes into every board that is made with the bundle. That is "
        "right for a single board. Two boards with one address cannot be in one network: switches and access points "
        "send what is for one of them to the other.",
        source="IEEE 802, MAC addresses; ESP-IDF manual, Miscellaneous System APIs, MAC Address",
        cure="give a list (custom_mac: macs.csv), from which each board takes its own; or leave it out",
    ),
    Rule(
        "SP169",
        Severity.WARNING,
        "firmware finds no custom MAC address",
        _no_address,
        explanation="With this option ESP-IDF takes the addresses of all interfaces from the custom MAC address in "
        "eFuse, and from nothing else. On a board without one, reading an address fails: Wi-Fi and Ethernet do not "
        "start, and Bluetooth ends in an abort, again at every start. Firmware that sets its base address itself "
        "(`esp_base_mac_addr_set`) before is not concerned.",
        source="ESP-IDF components/esp_hw_support/mac_addr.c (get_mac_addr_from_mac_table, get_efuse_mac_custom); "
        "components/bt/porting_btdm/controller/btdm_common/src/btdm_osal_freertos.c",
        cure="give custom_mac in the profile; or, if boards come with one, `keep: []` (or what else they keep); or "
        f"build with CONFIG_{_SETTING}=n",
        concerns=Concern.BOTH,
        settings=((_SETTING, False),),
    ),
)
