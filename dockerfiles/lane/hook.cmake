# What a build of ours changes in a CMake project, without an edit of its files: CMake includes this at the end of the
# project() command (CMAKE_PROJECT_<name>_INCLUDE). Each rule that finds nothing to change is an error.
#
#   LANE_DROP_SOURCES   "target=regular expression" …: sources that are not compiled
#   LANE_EMPTY_TARGETS  targets that are linked from one empty file instead of their sources
#   LANE_HEAVY_TARGETS  targets whose compilers get the pool `heavy`
#   LANE_JOBS, LANE_HEAVY_JOBS  how many compilers run at once, and how many of them may be heavy

set_property(GLOBAL PROPERTY JOB_POOLS "compile=${LANE_JOBS}" "heavy=${LANE_HEAVY_JOBS}")
set(CMAKE_JOB_POOL_COMPILE compile)

function(lane_apply)
  foreach(rule IN LISTS LANE_DROP_SOURCES)
    string(REGEX MATCH "^([^=]+)=(.*)$" matched "${rule}")
    set(target "${CMAKE_MATCH_1}")
    set(pattern "${CMAKE_MATCH_2}")
    if(NOT TARGET "${target}")
      message(FATAL_ERROR "native.drop: there is no target ${target}")
    endif()
    get_target_property(before "${target}" SOURCES)
    set(after "${before}")
    list(FILTER after EXCLUDE REGEX "${pattern}")
    if("${before}" STREQUAL "${after}")
      message(FATAL_ERROR "native.drop: no source of ${target} matches ${pattern}")
    endif()
    set_property(TARGET "${target}" PROPERTY SOURCES "${after}")
  endforeach()
  foreach(target IN LISTS LANE_EMPTY_TARGETS)
    if(NOT TARGET "${target}")
      message(FATAL_ERROR "native.empty: there is no target ${target}")
    endif()
    file(WRITE "${CMAKE_BINARY_DIR}/lane_empty_${target}.cpp" "// not compiled for this GPU\n")
    set_property(TARGET "${target}" PROPERTY SOURCES "${CMAKE_BINARY_DIR}/lane_empty_${target}.cpp")
  endforeach()
  foreach(target IN LISTS LANE_HEAVY_TARGETS)
    if(NOT TARGET "${target}")
      message(FATAL_ERROR "native.heavy: there is no target ${target}")
    endif()
    set_property(TARGET "${target}" PROPERTY JOB_POOL_COMPILE heavy)
  endforeach()
  file(WRITE "${CMAKE_BINARY_DIR}/lane_applied" "")
endfunction()
cmake_language(DEFER CALL lane_apply)
