#!/bin/sh
# Makes the folder of tools/gpu-check for one architecture and checks it in the simulator.
# usage: gpu-check-simulated.sh ARCH BUILD LIBRARY
set -eu
arch=$1
build=$2
library=$3
folder=$build/test/tools/gpu-check-$arch
rm -rf "$folder"
mkdir -p "$(dirname "$folder")"
LLMC_BIN=$build/bin "$(dirname "$0")/../../tools/gpu-check" bundle "$folder" --sim --arch="$arch" \
  --models=llama-a,qwen2-a,qwen3-a,qwen3moe-a,kimi-a
# Float32 throughout, so far: a kernel alone is within the CPU's tolerance.
exec "$folder/check" --libcuda="$library" --kernel-tolerance=1e-6 --logits-tolerance=1e-5
