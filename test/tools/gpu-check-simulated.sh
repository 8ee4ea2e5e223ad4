#!/bin/sh
# Makes the folder of tools/gpu-check for half of the tiny models and checks it in the simulator, on a device of each architecture.
# usage: gpu-check-simulated.sh HALF BUILD LIBRARY, where HALF is 0 or 1: every other model by name
set -eu
half=$1
build=$2
library=$3
root=$(cd "$(dirname "$0")/../.." && pwd)
folder=$build/test/tools/gpu-check-$half
models="" next=0
for config in "$root"/test/golden/*/config.json; do
  model=$(basename "$(dirname "$config")")
  case $model in *-ae) continue ;; esac # comes with its model
  [ $((next % 2)) != "$half" ] || models=$models${models:+,}$model
  next=$((next + 1))
done
rm -rf "$folder"
mkdir -p "$(dirname "$folder")"
LLMC_BIN=$build/bin "$root/tools/gpu-check" bundle "$folder" --sim --models="$models"
# Products take bf16 operands and activations are stored as bf16.
for capability in 9.0 8.0; do
  LLMC_SIM_CAPABILITY=$capability "$folder/check" --libcuda="$library" --kernel-tolerance=5e-3 --logits-tolerance=2e-2
done
