#!/bin/sh
# Includes follow the arrows: frontends -> models -> dialect <- passes <- codegen -> the artifact's schema in runtime, how files are
# written there (and what simulated kernels share with the simulator); runtime -> nothing of ours.
# Umbrella headers are banned where they are not needed (mlir/Conversion/Passes.h alone costs 33 s). usage: includes.sh [root]
set -eu
cd "${1:-$(dirname "$0")/../..}"
for f in $(find runtime dialect models frontends passes codegen tools -type f \( -name '*.cpp' -o -name '*.h' -o -name '*.c' -o -name '*.td' \) | sort); do
  awk -v file="$f" '
    function refuse(why) { printf "%s:%d: %s (%s)\n", file, FNR, why, name; failed = 1 }
    BEGIN {
      allowed["runtime"] = "runtime"
      allowed["dialect"] = "dialect"
      allowed["models"] = "models dialect"
      allowed["frontends"] = "frontends models dialect"
      allowed["passes"] = "passes dialect"
      allowed["codegen"] = "codegen passes dialect"
      split(file, path, "/")
      from = path[1]
      isRunTool = file ~ /^tools\/llmc-run\//
      n = split("runtime dialect models frontends passes codegen tools test", list, " ")
      for (i = 1; i <= n; ++i) ours[list[i]] = 1
    }
    /^[ \t]*(#[ \t]*)?include[ \t]*["<]/ {
      name = $0
      sub(/^[^"<]*["<]/, "", name)
      sub(/[">].*$/, "", name)
      to = name
      sub(/\/.*$/, "", to)
      if (name ~ /^\.\./) refuse("includes are written from the root of the project")
      if (from == "runtime" || isRunTool) {
        if (to == "mlir" || to == "llvm") refuse("the runtime never includes MLIR or LLVM")
      }
      if (isRunTool) {
        if (ours[to] && name !~ /^tools\/llmc-run\//) refuse("llmc-run knows the C API of the runtime only")
      } else if (ours[to] && from != "tools") {
        ok = 0
        n = split(allowed[from], list, " ")
        for (i = 1; i <= n; ++i) if (list[i] == to) ok = 1
        if (from == "codegen" && name ~ /^runtime\/(Plan\.h|Artifact.*|TemporaryFile\.h|sim\/SimThread\.h)$/) ok = 1
        if (!ok) refuse("no arrow from " from "/ to " to "/")
      }
      if (name ~ /^mlir\/InitAll/ && file != "tools/llmc-opt/llmc-opt.cpp") refuse("umbrella header")
      if (name ~ /^mlir\/(Conversion|Dialect\/Linalg)\/Passes\.h$/) refuse("umbrella header")
      if (name ~ /^mlir\/Dialect\/LLVMIR\/NVVMDialect\.h$/ && from != "codegen") refuse("belongs to codegen/")
    }
    END { exit failed }
  ' "$f" || failed=1
done
exit ${failed:-0}
