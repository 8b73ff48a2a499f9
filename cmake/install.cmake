# cmake --install: headers, both libraries, the command with man page and completions, pkg-config file, CMake package.
include(CMakePackageConfigHelpers)

install(DIRECTORY ${CMAKE_SOURCE_DIR}/include/cm3leon DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING
        PATTERN "*.h" PATTERN "*.hpp" PATTERN "pgvector.h" EXCLUDE)
# Two export sets: who links the shared library needs to have none of its dependencies' development files.
install(TARGETS cm3leon EXPORT cm3leon-shared
        LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(TARGETS cm3leon_static EXPORT cm3leon-static
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
if(CM3_PGVECTOR)
  install(FILES ${CMAKE_SOURCE_DIR}/include/cm3leon/pgvector.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/cm3leon)
  install(TARGETS cm3leon_pgvector EXPORT cm3leon-pgvector
          LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR} INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
  install(TARGETS cm3leon_pgvector_static EXPORT cm3leon-pgvector_static
          ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
endif()
if(CM3_MPI)
  install(TARGETS cm3-mpi RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(PROGRAMS ${CMAKE_SOURCE_DIR}/scripts/train-supervised RENAME cm3-train-supervised
          DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()
if(TARGET cm3)
  install(TARGETS cm3 RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
  install(FILES ${CMAKE_SOURCE_DIR}/docs/cm3.1 DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
  # Where each shell looks of itself.
  install(FILES ${CMAKE_SOURCE_DIR}/tools/completion/cm3.bash RENAME cm3
          DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions)
  install(FILES ${CMAKE_SOURCE_DIR}/tools/completion/_cm3 DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/site-functions)
  install(FILES ${CMAKE_SOURCE_DIR}/tools/completion/cm3.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d)
endif()
install(FILES ${CMAKE_SOURCE_DIR}/LICENSE ${CMAKE_SOURCE_DIR}/THIRD_PARTY.md DESTINATION ${CMAKE_INSTALL_DOCDIR})

# --- pkg-config: cm3leon.pc, cm3leon_pgvector.pc ------------------------------------------------------------------------------------------
set(pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
if(IS_ABSOLUTE ${CMAKE_INSTALL_LIBDIR} OR IS_ABSOLUTE ${CMAKE_INSTALL_INCLUDEDIR})
  set(CM3_PC_PREFIX ${CMAKE_INSTALL_PREFIX})
  set(CM3_PC_LIBDIR ${CMAKE_INSTALL_FULL_LIBDIR})
  set(CM3_PC_INCLUDEDIR ${CMAKE_INSTALL_FULL_INCLUDEDIR})
else()
  # Said from where the file lies, so that the prefix may be chosen at installation or moved afterwards.
  file(RELATIVE_PATH up /prefix/${pc_dir} /prefix)
  string(REGEX REPLACE "/$" "" up ${up})
  set(CM3_PC_PREFIX "\${pcfiledir}/${up}")
  set(CM3_PC_LIBDIR "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
  set(CM3_PC_INCLUDEDIR "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
# What the static library needs, spelt out: asking pkg-config for it would demand all those packages of everyone.
set(CM3_PC_PRIVATE "")
if(CM3_WITH_ONEDNN)
  string(APPEND CM3_PC_PRIVATE " -ldnnl")
endif()
string(APPEND CM3_PC_PRIVATE " -lturbojpeg -lpng -ljansson -lxxhash -lpcre2-8 -lutf8proc -lyaml")
if(CM3_WITH_TRAIN)
  string(APPEND CM3_PC_PRIVATE " -larchive")
endif()
if(CM3_WITH_OPENMP)
  foreach(name ${OpenMP_C_LIB_NAMES})
    if(name STREQUAL "gomp")
      string(APPEND CM3_PC_PRIVATE " -lgomp")
    elseif(NOT name STREQUAL "pthread")
      # LLVM's lies in a directory of its own, which only its own compiler searches.
      string(APPEND CM3_PC_PRIVATE " ${OpenMP_${name}_LIBRARY}")
    endif()
  endforeach()
endif()
string(APPEND CM3_PC_PRIVATE " -lpthread -lm")
configure_file(${CMAKE_SOURCE_DIR}/pkgconfig/cm3leon.pc.in ${CMAKE_BINARY_DIR}/cm3leon.pc @ONLY)
install(FILES ${CMAKE_BINARY_DIR}/cm3leon.pc DESTINATION ${pc_dir})
if(CM3_PGVECTOR)
  configure_file(${CMAKE_SOURCE_DIR}/pkgconfig/cm3leon_pgvector.pc.in ${CMAKE_BINARY_DIR}/cm3leon_pgvector.pc @ONLY)
  install(FILES ${CMAKE_BINARY_DIR}/cm3leon_pgvector.pc DESTINATION ${pc_dir})
endif()

# --- CMake: find_package(cm3leon [COMPONENTS static pgvector pgvector_static]) ----------------------------------------------------------------
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/cm3leon)
configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/cm3leonConfig.cmake.in ${CMAKE_BINARY_DIR}/cm3leonConfig.cmake
                              INSTALL_DESTINATION ${package_dir} NO_SET_AND_CHECK_MACRO)
# Until the ABI is declared stable a minor version may break callers.
write_basic_package_version_file(${CMAKE_BINARY_DIR}/cm3leonConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/cm3leonConfig.cmake ${CMAKE_BINARY_DIR}/cm3leonConfigVersion.cmake
        DESTINATION ${package_dir})
install(EXPORT cm3leon-shared NAMESPACE cm3leon:: FILE cm3leon-shared.cmake DESTINATION ${package_dir})
install(EXPORT cm3leon-static NAMESPACE cm3leon:: FILE cm3leon-static.cmake DESTINATION ${package_dir})
if(CM3_PGVECTOR)
  install(EXPORT cm3leon-pgvector NAMESPACE cm3leon:: FILE cm3leon-pgvector.cmake DESTINATION ${package_dir})
  install(EXPORT cm3leon-pgvector_static NAMESPACE cm3leon:: FILE cm3leon-pgvector_static.cmake DESTINATION ${package_dir})
endif()
