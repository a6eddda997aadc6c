# SPDX-License-Identifier: Apache-2.0
# Only the application's own build gets the hook, and only when menuconfig asks for it.
if(CONFIG_SECURE_PROVISION_BUNDLE_ON_BUILD AND NOT BOOTLOADER_BUILD AND NOT ESP_TEE_BUILD)
    include("${CMAKE_CURRENT_LIST_DIR}/cmake/secure_provision.cmake")
endif()
