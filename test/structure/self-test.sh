#!/bin/sh
# The checks notice what they are there for: each is shown a small tree with one violation. usage: self-test.sh READELF LLVM_TOOL
set -eu
here=$(cd "$(dirname "$0")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
failed=0
folders="runtime dialect models frontends passes codegen tools/llmc-run tools/llmc"
fresh() {
  rm -rf "$tree" && mkdir -p "$tree"
  for folder in $folders; do mkdir -p "$tree/$folder"; done
}
expect() { # script, text that it must print
  if out=$("$here/$1" "$tree" 2>&1); then
    echo "$1 passes a tree that has: $2"
    failed=1
  elif ! echo "$out" | grep -qF "$2"; then
    echo "$1 fails without saying '$2':"
    echo "$out"
    failed=1
  fi
}
include() { # file, header, text
  fresh
  printf '// first line\n#include "%s"\n' "$2" >"$tree/$1"
  expect includes.sh "$1:2: $3"
}
include runtime/X.cpp dialect/X.h "no arrow from runtime/ to dialect/"
include runtime/X.cpp mlir/IR/Builders.h "the runtime never includes MLIR or LLVM"
include dialect/X.cpp passes/X.h "no arrow from dialect/ to passes/"
include models/X.cpp frontends/X.h "no arrow from models/ to frontends/"
include frontends/X.cpp passes/X.h "no arrow from frontends/ to passes/"
include passes/X.cpp codegen/X.h "no arrow from passes/ to codegen/"
include codegen/X.cpp runtime/Session.h "no arrow from codegen/ to runtime/"
include codegen/X.cpp test/X.h "no arrow from codegen/ to test/"
include tools/llmc-run/X.cpp runtime/Session.h "llmc-run knows the C API of the runtime only"
include passes/X.cpp mlir/Conversion/Passes.h "umbrella header"
include passes/X.cpp mlir/InitAllDialects.h "umbrella header"
include passes/X.cpp mlir/Dialect/LLVMIR/NVVMDialect.h "belongs to codegen/"
fresh
printf '#include "runtime/Plan.h"\n#include "runtime/Artifact_generated.h"\n#include "passes/X.h"\n#include <vector>\n' >"$tree/codegen/X.cpp"
"$here/includes.sh" "$tree" || { echo "includes.sh refuses what the arrows allow"; failed=1; }

fresh
echo "see /wor""k/notes" >"$tree/dialect/X.md"
expect tree.sh "dialect/X.md:1:"
fresh
head -c 4194305 /dev/zero >"$tree/dialect/X.bin"
expect tree.sh "dialect/X.bin:1: 4194305 bytes"
fresh
echo "a/work/b, framework/, https://example.org/work, network" >"$tree/dialect/X.md"
"$here/tree.sh" "$tree" || { echo "tree.sh refuses a relative path"; failed=1; }

if "$here/llmc-run.sh" "$1" "$2" >"$tree/out" 2>&1; then
  echo "llmc-run.sh passes a program that is linked with LLVM"
  failed=1
fi
exit $failed
