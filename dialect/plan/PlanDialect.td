// The plan dialect: what the host does. It is the artifact's plan as IR.
#ifndef LLMC_DIALECT_PLAN_PLANDIALECT_TD
#define LLMC_DIALECT_PLAN_PLANDIALECT_TD

include "mlir/IR/OpBase.td"
include "mlir/IR/SymbolInterfaces.td"

def Plan_Dialect : Dialect {
  let name = "plan";
  let summary = "The host program: buffers, dispatches, programs";
  let description = [{
    Everything is named and static: a program is a list of dispatches of kernels on buffers. Dynamic sizes are symbols: T tokens of the call, S its
    sequences, SLOTS and CTX (tokens of context; CTXB in blocks of 32) chosen when an engine is opened.
  }];
  let cppNamespace = "::llmc::plan";
}

class Plan_Op<string mnemonic, list<Trait> traits = []> : Op<Plan_Dialect, mnemonic, traits>;

def Plan_BufferOp : Plan_Op<"buffer", [Symbol]> {
  let summary = "a named array";
  let description = [{
    `kind` is input, output, weight, state or transient. `dims` names the dynamic dimensions of `type` in order ("T", "8*T", "SLOTS", ...).
    A weight says which tensors of the checkpoint it holds and in which order (`layout`, the attributes of `llm.pack`; none: as stored; `parts`: first row
    and number of rows in a group, for each tensor, instead of `from` and `count` for all). A transient has an `offset` in its program's arena once memory is planned.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, StrAttr:$kind, TypeAttr:$type, OptionalAttr<StrArrayAttr>:$dims, OptionalAttr<I64Attr>:$offset,
                       OptionalAttr<StrArrayAttr>:$weights, OptionalAttr<DictionaryAttr>:$layout);
  let assemblyFormat = "$kind $sym_name `:` $type (`dims` $dims^)? (`at` $offset^)? (`holds` $weights^)? (`layout` $layout^)? attr-dict";
  let hasVerifier = 1;
}

def Plan_ProgramOp : Plan_Op<"program", [Symbol, NoTerminator, SingleBlock, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "dispatches in order, each seeing what those before it wrote";
  let description = [{
    `inputs` are the buffers that the caller fills before the program runs, `outputs` those that it reads afterwards. `arena_bytes` is the size of
    the memory in which the program's transients lie, once memory is planned.
    A call may have several tables of sequences, the program's `spans`: for each sequence rows at the positions from ... to, two numbers in postfix terms (constants; `known`,
    `end`, `start` of `bounds`; names of settings; add, sub, mul, div, min, max). Span 0 is the table `where`, `rows`. `max_rows` bounds the rows of each, once memory is planned.
  }];
  let arguments = (ins SymbolNameAttr:$sym_name, TypedArrayAttrBase<FlatSymbolRefAttr, "buffers">:$inputs,
                       TypedArrayAttrBase<FlatSymbolRefAttr, "buffers">:$outputs, OptionalAttr<I64Attr>:$arena_bytes, OptionalAttr<ArrayAttr>:$spans,
                       OptionalAttr<DenseI64ArrayAttr>:$max_rows);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "$sym_name `inputs` $inputs `outputs` $outputs (`arena` $arena_bytes^)? (`spans` $spans^)? (`rows` $max_rows^)? attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

def Plan_DispatchOp : Plan_Op<"dispatch", [DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "runs all workgroups of a kernel on these buffers, one per argument";
  let description = [{T is the number of rows of the call's table number `span`.}];
  let arguments = (ins FlatSymbolRefAttr:$kernel, TypedArrayAttrBase<FlatSymbolRefAttr, "buffers">:$buffers,
                       DefaultValuedAttr<ConfinedAttr<I64Attr, [IntNonNegative]>, "0">:$span);
  let assemblyFormat = "$kernel $buffers (`span` $span^)? attr-dict";
}

def Plan_LoopOp : Plan_Op<"loop", [NoTerminator, SingleBlock, DeclareOpInterfaceMethods<SymbolUserOpInterface>]> {
  let summary = "runs its dispatches again and again while a buffer says so";
  let description = [{
    Before each trip: goes on if an element of the call's part of `condition`, i32, is not 0. At most `at_most` trips. With `rows`, the elements are how many rows each
    sequence has in the next trip in the table of that number, which the program makes itself: at most as many as the call's table of that number has.
  }];
  let arguments = (ins FlatSymbolRefAttr:$condition, ConfinedAttr<I64Attr, [IntPositive]>:$at_most, OptionalAttr<ConfinedAttr<I64Attr, [IntPositive]>>:$rows);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = "`while` $condition `at_most` $at_most (`rows` $rows^)? attr-dict-with-keyword $body";
  let hasVerifier = 1;
}

#endif
