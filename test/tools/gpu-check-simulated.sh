#!/bin/sh
# Makes the folder of tools/gpu-check for one architecture and checks it in the simulator: a model of each family on both architectures, the other
# tiny models on one.
# usage: gpu-check-simulated.sh ARCH BUILD LIBRARY
set -eu
arch=$1
build=$2
library=$3
folder=$build/test/tools/gpu-check-$arch
rm -rf "$folder"
mkdir -p "$(dirname "$folder")"
models=llama-a,qwen2-a,qwen3-a,qwen3moe-a,kimi-a,autodeco-llama,llada-moe-a,sdar-a,fastdllm-a,calm-a
case $arch in
  sm_80) models=$models,autodeco-qwen2,autodeco-qwen3moe,calm-b,dream-a,kimi-b,kimi-extreme,llada-a,llada2-a,llama-b,llama-d,qwen3moe-b ;;
  *) models=$models,autodeco-llama-d,autodeco-qwen3,difflm-a,kimi-c,llada-b,llada2-b,llama-c,qwen3-b,sdar-moe-a ;;
esac
LLMC_BIN=$build/bin "$(dirname "$0")/../../tools/gpu-check" bundle "$folder" --sim --arch="$arch" \
  --models="$models"
# Products take bf16 operands and activations are stored as bf16.
exec "$folder/check" --libcuda="$library" --kernel-tolerance=5e-3 --logits-tolerance=2e-2
