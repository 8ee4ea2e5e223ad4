// All families in one file, for the generated documentation; C++ is generated family by family.
#ifndef LLMC_DIALECT_LLM_LLMOPS_TD
#define LLMC_DIALECT_LLM_LLMOPS_TD
include "dialect/llm/MathOps.td"
include "dialect/llm/NormOps.td"
include "dialect/llm/MixerOps.td"
include "dialect/llm/RoutingOps.td"
include "dialect/llm/DecodingOps.td"
include "dialect/llm/CanvasOps.td"
include "dialect/llm/PatchOps.td"
include "dialect/llm/DispatchOps.td"

#endif
