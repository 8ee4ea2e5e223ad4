// What passes make of a model: dispatches (groups of ops that become one kernel) and launches of those kernels.
#ifndef LLMC_DIALECT_LLM_DISPATCHOPS_TD
#define LLMC_DIALECT_LLM_DISPATCHOPS_TD
include "dialect/llm/LlmDialect.td"

def Llm_DispatchOp : Llm_Op<"dispatch", [Pure, IsolatedFromAbove, SingleBlock]> {
  let summary = "a group of ops that becomes one kernel";
  let description = [{
    The region gets the operands as block arguments and yields the results. An operand that is a state is updated in place by the kernel: `tied[i]` is the
    operand whose memory result i takes, or -1 for a result of its own. `kernel` is the name that its kernel would like.
  }];
  let arguments = (ins Variadic<AnyType>:$inputs, DenseI64ArrayAttr:$tied, DefaultValuedAttr<StrAttr, "\"kernel\"">:$kernel);
  let regions = (region SizedRegion<1>:$body);
  let results = (outs Variadic<AnyType>:$outputs);
  let assemblyFormat = "`(` $inputs `)` attr-dict `:` functional-type(operands, results) $body";
  let hasVerifier = 1;
}

def Llm_LaunchOp : Llm_Op<"launch", [Pure]> {
  let summary = "runs a kernel";
  let description = [{
    Operands and results as of the `llm.dispatch` it was. The kernel's arguments are the operands that are not tied (an `!llm.sequences` stands for two:
    where, rows), then one destination per result.
  }];
  let arguments = (ins FlatSymbolRefAttr:$kernel, Variadic<AnyType>:$inputs, DenseI64ArrayAttr:$tied);
  let results = (outs Variadic<AnyType>:$outputs);
  let assemblyFormat = "$kernel `(` $inputs `)` attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

#endif
