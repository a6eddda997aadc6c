# The target secure-bundle: makes the provisioning bundle after the app, the bootloader and the partition table.
#
# It runs at the end of every build and decides by itself whether an input changed: rules that make the images differ
# between the releases of ESP-IDF, and a profile names further files that no build system knows.

include_guard(GLOBAL)

# In this order: the targets of build system v1 and v2. Those that exist are waited for.
set(__secure_provision_images app gen_project_binary bootloader partition_table_bin partition-table)

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

# Runs when the top-level directory is processed, because only then all targets exist.
function(__secure_provision_add_target)
    idf_build_get_property(python PYTHON)
    idf_build_get_property(build_dir BUILD_DIR)
    __secure_provision_environment("${python}" "${build_dir}" environment)
    add_custom_target(secure-bundle ALL
        COMMAND "${CMAKE_COMMAND}" -E env ${environment}
                "${python}" -m secure_ext idf after-build --build-dir "${build_dir}"
        WORKING_DIRECTORY "${build_dir}"
        COMMENT "Checking the provisioning bundle"
        VERBATIM)
    foreach(image IN LISTS __secure_provision_images)
        if(TARGET ${image})
            add_dependencies(secure-bundle ${image})
        endif()
    endforeach()
endfunction()

cmake_language(DEFER DIRECTORY "${CMAKE_SOURCE_DIR}" CALL __secure_provision_add_target)
