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
  --models=llama-a,qwen2-a,qwen3-a,qwen3moe-a,kimi-a,autodeco-llama,llada-moe-a,sdar-a,fastdllm-a,calm-a
# Products take bf16 operands and activations are stored as bf16.
exec "$folder/check" --libcuda="$library" --kernel-tolerance=5e-3 --logits-tolerance=2e-2
