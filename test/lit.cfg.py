# Configuration of all lit tests. Tools of this build come first, FileCheck and not from LLVM's tools directory.
import os

import lit.formats

config.name = "llmc"
config.test_format = lit.formats.ShTest(execute_external=False)
config.suffixes = [".mlir", ".test"]
config.excludes = ["golden", "Inputs"]
config.test_source_root = os.path.dirname(__file__)
config.test_exec_root = os.path.join(config.build_dir, "test")
config.substitutions += [
    ("%bin", os.path.join(config.build_dir, "bin")),
    ("%libllmc-sim", os.path.join(config.build_dir, "lib", "libllmc-sim.so")),
    ("%root", os.path.dirname(config.test_source_root)),
]
config.environment["PATH"] = os.pathsep.join(
    [os.path.join(config.build_dir, "bin"), config.llvm_tools_dir, os.environ["PATH"]]
)
