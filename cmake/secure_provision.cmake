# SPDX-License-Identifier: Apache-2.0
# The target secure-bundle: makes the provisioning bundle after everything that goes into flash.
#
# It runs at the end of every build and decides by itself whether an input changed: rules that make the images differ
# between the releases of ESP-IDF, and a profile names further files that no build system knows.

include_guard(GLOBAL)

if(CMAKE_VERSION VERSION_LESS 3.19)
    message(FATAL_ERROR
        "error SE906: the build hook of idf-secure-provision needs CMake 3.19 or later, this is ${CMAKE_VERSION}\n"
        "what to do: install ESP-IDF's own CMake (python $ENV{IDF_PATH}/tools/idf_tools.py install cmake) and export "
        "again; or turn off CONFIG_SECURE_PROVISION_BUNDLE_ON_BUILD and make the bundle with: idf.py secure-provision")
endif()

# Puts into `result` the environment in which `python` finds the package: none if it is installed, else the folder of
# this component if the package lies in it.
function(__secure_provision_environment python directory result)
    execute_process(
        COMMAND "${python}" -c "import secure_ext"
        WORKING_DIRECTORY "${directory}"
        RESULT_VARIABLE missing
        OUTPUT_QUIET ERROR_QUIET)
    get_filename_component(root "${CMAKE_CURRENT_FUNCTION_LIST_DIR}" DIRECTORY)
    if(NOT missing)
        set(${result} "" PARENT_SCOPE)
    elseif(EXISTS "${root}/secure_ext/__main__.py")
        set(${result} "PYTHONPATH=${root}" PARENT_SCOPE)
    else()
        message(FATAL_ERROR
            "error SE901: the Python package of idf-secure-provision is not installed in ESP-IDF's environment\n"
            "what to do: \"${python}\" -m pip install idf-secure-provision")
    endif()
endfunction()

# Puts into `result` the targets that a target was told to wait for.
function(__secure_provision_waits_for target result)
    set(names "")
    if(TARGET ${target})
        get_target_property(names ${target} MANUALLY_ADDED_DEPENDENCIES)
    endif()
    if(NOT names)
        set(names "")
    endif()
    set(${result} "${names}" PARENT_SCOPE)
endfunction()

# Puts into `result` the custom targets that belong to `all`, in a directory and those below it. A data image is often
# made by one of them, without anybody having told `flash`.
function(__secure_provision_targets_of_all directory result)
    get_property(targets DIRECTORY "${directory}" PROPERTY BUILDSYSTEM_TARGETS)
    get_property(subdirectories DIRECTORY "${directory}" PROPERTY SUBDIRECTORIES)
    set(found "")
    foreach(target IN LISTS targets)
        get_target_property(type ${target} TYPE)
        get_target_property(excluded ${target} EXCLUDE_FROM_ALL)
        if(type STREQUAL "UTILITY" AND NOT excluded)
            list(APPEND found ${target})
        endif()
    endforeach()
    foreach(subdirectory IN LISTS subdirectories)
        get_property(excluded DIRECTORY "${subdirectory}" PROPERTY EXCLUDE_FROM_ALL)
        if(NOT excluded)
            __secure_provision_targets_of_all("${subdirectory}" below)
            list(APPEND found ${below})
        endif()
    endforeach()
    set(${result} "${found}" PARENT_SCOPE)
endfunction()

# Puts into `result` whether a target waits for secure-bundle: it works with the finished bundle, which then cannot wait
# for it. `seen` are the targets that are being looked at.
function(__secure_provision_comes_after target seen result)
    set(${result} FALSE PARENT_SCOPE)
    __secure_provision_waits_for(${target} names)
    foreach(name IN LISTS names)
        if(name STREQUAL "secure-bundle")
            set(${result} TRUE PARENT_SCOPE)
            return()
        elseif(NOT name IN_LIST seen)
            list(APPEND seen ${name})
            __secure_provision_comes_after(${name} "${seen}" after)
            if(after)
                set(${result} TRUE PARENT_SCOPE)
                return()
            endif()
        endif()
    endforeach()
endfunction()

# Makes the target.
function(__secure_provision_add_target)
    idf_build_get_property(python PYTHON)
    idf_build_get_property(build_dir BUILD_DIR)
    __secure_provision_environment("${python}" "${build_dir}" environment)
    # What makes the images of build system v1 and v2, if it is there.
    set(waited_for app gen_project_binary bootloader partition_table_bin partition-table)
    # What `idf.py flash` makes before it writes: the same, and data partitions, a TEE, a second app.
    foreach(target IN ITEMS flash encrypted-flash)
        __secure_provision_waits_for(${target} names)
        list(APPEND waited_for ${names})
    endforeach()
    __secure_provision_targets_of_all("${CMAKE_SOURCE_DIR}" names)
    list(APPEND waited_for ${names})
    list(REMOVE_DUPLICATES waited_for)
    add_custom_target(secure-bundle ALL
        COMMAND "${CMAKE_COMMAND}" -E env ${environment}
                "${python}" -m secure_ext idf after-build --build-dir "${build_dir}"
        WORKING_DIRECTORY "${build_dir}"
        COMMENT "Checking the provisioning bundle"
        VERBATIM)
    foreach(target IN LISTS waited_for)
        if(TARGET ${target})
            __secure_provision_comes_after(${target} "${target}" after)
            if(NOT after)
                add_dependencies(secure-bundle ${target})
            endif()
        endif()
    endforeach()
endfunction()

# Runs when the top-level directory is processed, and after everything that the project puts off until then: only now
# all targets exist, and know what they wait for.
function(__secure_provision_put_off)
    cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL __secure_provision_add_target)
endfunction()

cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL __secure_provision_put_off)
