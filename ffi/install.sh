#!/bin/sh
# Builds libopenclaw_auth and installs it for C and C++ programs:
#
#   ffi/install.sh --prefix DIR [--destdir DIR] [--libdir lib] [--shared-only | --static-only]
#                  [--profile library]
#
# The installed tree may be moved: pkg-config and CMake find everything relative to themselves.
set -eu

usage() {
  sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
  exit 64
}

prefix='' destdir='' libdir=lib shared=1 static=1 profile=library
while [ $# -gt 0 ]; do
  case $1 in
    --prefix) [ $# -ge 2 ] || usage; prefix=$2; shift ;;
    --destdir) [ $# -ge 2 ] || usage; destdir=$2; shift ;;
    --libdir) [ $# -ge 2 ] || usage; libdir=$2; shift ;;
    --profile) [ $# -ge 2 ] || usage; profile=$2; shift ;;
    --shared-only) static=0 ;;
    --static-only) shared=0 ;;
    *) usage ;;
  esac
  shift
done
[ -n "$prefix" ] && [ "$shared$static" != 00 ] || usage
case $prefix in /*) ;; *) prefix=$PWD/$prefix ;; esac
case $libdir in /* | *..*) usage ;; esac

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
cargo build --quiet -p openclaw-auth-ffi --profile "$profile"
built=${CARGO_TARGET_DIR:-$root/target}/$([ "$profile" = dev ] && echo debug || echo "$profile")

to=$destdir$prefix
lib=$to/$libdir
mkdir -p "$to/include" "$lib/pkgconfig" "$lib/cmake/openclaw_auth" "$to/share/licenses/openclaw-auth"
install -m 644 include/openclaw_auth.h include/openclaw_auth.hpp "$to/include/"
install -m 644 LICENSE-MIT LICENSE-APACHE docs/dependencies.md "$to/share/licenses/openclaw-auth/"

case $(uname -s) in
  Darwin) real=libopenclaw_auth.$version.dylib soname=libopenclaw_auth.0.dylib link=libopenclaw_auth.dylib ;;
  *) real=libopenclaw_auth.so.$version soname=libopenclaw_auth.so.0 link=libopenclaw_auth.so ;;
esac
if [ $shared = 1 ]; then
  install -m 755 "$built/$link" "$lib/$real"
  ln -sf "$real" "$lib/$soname"
  ln -sf "$soname" "$lib/$link"
fi
if [ $static = 1 ]; then
  install -m 644 "$built/libopenclaw_auth.a" "$lib/"
fi

# What `rustc --print native-static-libs` names; tests/c/run compares.
case $(uname -s) in
  Darwin) private='-liconv -lSystem -lc -lm' ;;
  *) private='-lgcc_s -lutil -lrt -lpthread -lm -ldl -lc' ;;
esac
# From the folder of the .pc file up to the prefix.
up=$(printf '%s/pkgconfig' "$libdir" | sed 's|[^/][^/]*|..|g')

cat >"$lib/pkgconfig/openclaw_auth.pc" <<PC
prefix=\${pcfiledir}/$up
libdir=\${prefix}/$libdir
includedir=\${prefix}/include

Name: openclaw_auth
Description: Credentials and access control for AI-agent gateways
Version: $version
Cflags: -I\${includedir}
Libs: -L\${libdir} -lopenclaw_auth
Libs.private: $private
PC

cmake_private=$(printf '%s' "$private" | sed 's/-l//g; s/ /;/g')
cmake_up=$(printf '%s/cmake/openclaw_auth' "$libdir" | sed 's|[^/][^/]*|..|g')
cat >"$lib/cmake/openclaw_auth/openclaw_auth-config.cmake" <<CMAKE
get_filename_component(_openclaw_auth_prefix "\${CMAKE_CURRENT_LIST_DIR}/$cmake_up" ABSOLUTE)
set(_openclaw_auth_shared "\${_openclaw_auth_prefix}/$libdir/$link")
set(_openclaw_auth_static "\${_openclaw_auth_prefix}/$libdir/libopenclaw_auth.a")
if(EXISTS "\${_openclaw_auth_shared}" AND NOT TARGET openclaw_auth::openclaw_auth)
  add_library(openclaw_auth::openclaw_auth SHARED IMPORTED)
  set_target_properties(openclaw_auth::openclaw_auth PROPERTIES
    IMPORTED_LOCATION "\${_openclaw_auth_shared}"
    IMPORTED_SONAME "$soname"
    INTERFACE_INCLUDE_DIRECTORIES "\${_openclaw_auth_prefix}/include")
endif()
if(EXISTS "\${_openclaw_auth_static}" AND NOT TARGET openclaw_auth::static)
  add_library(openclaw_auth::static STATIC IMPORTED)
  set_target_properties(openclaw_auth::static PROPERTIES
    IMPORTED_LOCATION "\${_openclaw_auth_static}"
    INTERFACE_COMPILE_DEFINITIONS OCA_STATIC
    INTERFACE_LINK_LIBRARIES "$cmake_private"
    INTERFACE_INCLUDE_DIRECTORIES "\${_openclaw_auth_prefix}/include")
endif()
CMAKE

# Before 1.0 a minor release may change things, so only the same one fits.
cat >"$lib/cmake/openclaw_auth/openclaw_auth-config-version.cmake" <<CMAKE
set(PACKAGE_VERSION "$version")
if(PACKAGE_FIND_VERSION VERSION_GREATER PACKAGE_VERSION
    OR NOT "\${PACKAGE_FIND_VERSION_MAJOR}.\${PACKAGE_FIND_VERSION_MINOR}" STREQUAL "${version%.*}")
  set(PACKAGE_VERSION_COMPATIBLE FALSE)
else()
  set(PACKAGE_VERSION_COMPATIBLE TRUE)
  if(PACKAGE_FIND_VERSION VERSION_EQUAL PACKAGE_VERSION)
    set(PACKAGE_VERSION_EXACT TRUE)
  endif()
endif()
CMAKE
echo "installed libopenclaw_auth $version to $to"
