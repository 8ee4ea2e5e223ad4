// func and scf: calls, conditions, loops, and the parallel loop over a tile program's workgroups.
#include "dialect/reference/Handlers.h"
#include "dialect/reference/Slices.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"

using namespace mlir;
namespace llmc::reference {

static LogicalResult giveAll(Context &c, SmallVectorImpl<Value> &values) {
  for (Value &v : values)
    c.results.push_back(std::move(v));
  return success();
}

static LogicalResult evaluateCall(Context &c) {
  auto results = c.call(cast<func::CallOp>(c.op).getCallee(), c.operands);
  if (failed(results))
    return failure();
  for (Value &v : *results)
    c.results.push_back(std::move(v));
  return success();
}

static LogicalResult evaluateIf(Context &c) {
  auto op = cast<scf::IfOp>(c.op);
  Region &taken = c.integer(0) & 1 ? op.getThenRegion() : op.getElseRegion();
  if (taken.empty())
    return success();
  SmallVector<Value> passed;
  return failed(c.run(taken.front(), {}, passed)) ? failure() : giveAll(c, passed);
}

static LogicalResult evaluateFor(Context &c) {
  auto op = cast<scf::ForOp>(c.op);
  int64_t lower = c.integer(0), upper = c.integer(1), step = c.integer(2);
  if (step <= 0)
    return c.error() << "a step of " << step;
  SmallVector<Value> carried(std::make_move_iterator(c.operands.begin() + 3), std::make_move_iterator(c.operands.end()));
  for (int64_t i = lower; i < upper; i += step) {
    SmallVector<Value> arguments;
    arguments.push_back(integerCell(i));
    arguments.append(std::make_move_iterator(carried.begin()), std::make_move_iterator(carried.end()));
    carried.clear();
    if (failed(c.run(*op.getBody(), arguments, carried)))
      return failure();
  }
  return giveAll(c, carried);
}

static LogicalResult evaluateWhile(Context &c) {
  auto op = cast<scf::WhileOp>(c.op);
  SmallVector<Value> carried(std::make_move_iterator(c.operands.begin()), std::make_move_iterator(c.operands.end()));
  auto function = op->getParentOfType<func::FuncOp>();
  const int64_t most = function && function->hasAttr("llm.kernel") ? INT64_MAX : c.mostTrips();
  for (int64_t trip = 0;; ++trip) {
    SmallVector<Value> condition;
    if (failed(c.run(*op.getBeforeBody(), carried, condition)))
      return failure();
    bool goesOn = condition.front().integer() & 1 && trip < most;
    condition.erase(condition.begin());
    if (!goesOn)
      return giveAll(c, condition);
    carried.clear();
    if (failed(c.run(*op.getAfterBody(), condition, carried)))
      return failure();
  }
}

static LogicalResult evaluateIndexSwitch(Context &c) {
  auto op = cast<scf::IndexSwitchOp>(c.op);
  Region *taken = &op.getDefaultRegion();
  for (auto [value, region] : llvm::zip(op.getCases(), op.getCaseRegions()))
    if (value == c.integer(0))
      taken = &region;
  SmallVector<Value> passed;
  return failed(c.run(taken->front(), {}, passed)) ? failure() : giveAll(c, passed);
}

static LogicalResult evaluateRegion(Context &c) {
  SmallVector<Value> passed;
  return failed(c.run(c.op->getRegion(0).front(), {}, passed)) ? failure() : giveAll(c, passed);
}

/// Writes `source` into `destination` and notes the writer of every element; two workgroups may not write the same one.
static LogicalResult insertByWorkgroup(Context &c, tensor::ParallelInsertSliceOp insert, const Tensor &source, Tensor &destination,
                                       std::vector<int32_t> &writers, int32_t workgroup, const SliceNumbers &slice) {
  if (Tensor::count(slice.sizes) != source.size())
    return insert.emitError("reference evaluator: slice and source differ in size");
  if (!isInside(slice, destination.shape))
    return insert.emitError("reference evaluator: workgroup ") << workgroup << " writes outside of its destination";
  int64_t next = 0;
  bool overlaps = false;
  forEachInSlice(slice, destination.shape, [&](int64_t at) {
    overlaps |= writers[at] >= 0 && writers[at] != workgroup;
    writers[at] = workgroup;
    destination.cells[at] = source.cells[next++];
  });
  if (overlaps)
    return insert.emitError("reference evaluator: workgroup ") << workgroup << " overwrites what another one wrote";
  return success();
}

/// Bounds or steps of an scf.forall; dynamic ones are taken from the front of `operands`.
static SmallVector<int64_t, 3> takeNumbers(ArrayRef<int64_t> numbers, ArrayRef<Value> &operands) {
  SmallVector<int64_t, 3> all;
  for (int64_t n : numbers) {
    if (ShapedType::isDynamic(n)) {
      n = operands.front().integer();
      operands = operands.drop_front();
    }
    all.push_back(n);
  }
  return all;
}

/// Workgroups run in any order or at once: none may read what another one writes.
static LogicalResult checkReads(Context &c, const SharedReads &reads, ArrayRef<int32_t> writers) {
  for (auto [reader, writer] : llvm::zip(reads.readers, writers))
    if (writer >= 0 && reader != SharedReads::kNobody && reader != writer) {
      if (reader == SharedReads::kSeveral)
        return c.error() << "another workgroup reads what workgroup " << writer << " writes";
      return c.error() << "workgroup " << reader << " reads what workgroup " << writer << " writes";
    }
  return success();
}

/// Every workgroup sees the shared tensors as they were before the loop; what it inserts shows in the results only.
static LogicalResult evaluateForall(Context &c) {
  auto op = cast<scf::ForallOp>(c.op);
  auto operands = ArrayRef<Value>(c.operands);
  auto lower = takeNumbers(op.getStaticLowerBound(), operands), upper = takeNumbers(op.getStaticUpperBound(), operands),
       step = takeNumbers(op.getStaticStep(), operands);
  auto sharedArguments = op.getRegionIterArgs();
  std::vector<Value> shared(operands.begin(), operands.end()), written = shared;
  std::vector<std::vector<int32_t>> writers;
  for (auto [v, argument] : llvm::zip(shared, sharedArguments)) {
    writers.emplace_back(v.tensor().size(), SharedReads::kNobody);
    c.allSharedReads()[argument] = {0, writers.back()};
  }
  bool isDone = false;
  for (auto [l, u, s] : llvm::zip(lower, upper, step)) {
    if (s <= 0)
      return c.error() << "a step of " << s;
    isDone |= l >= u;
  }
  SmallVector<int64_t, 3> at(lower);
  for (int32_t workgroup = 0; !isDone; ++workgroup) {
    SmallVector<Value> arguments, passed;
    for (int64_t i : at)
      arguments.push_back(integerCell(i));
    arguments.append(shared.begin(), shared.end());
    for (auto argument : sharedArguments)
      c.sharedReads(argument)->workgroup = workgroup;
    if (failed(c.run(*op.getBody(), arguments, passed)))
      return failure();
    for (Operation &each : op.getTerminator().getRegion().front()) {
      auto insert = dyn_cast<tensor::ParallelInsertSliceOp>(each);
      if (!insert)
        return each.emitError("reference evaluator: not evaluated inside scf.forall.in_parallel");
      unsigned k = cast<BlockArgument>(insert.getDest()).getArgNumber() - at.size();
      const Value source = c.captured(insert.getSource());
      auto slice = sliceNumbers(c, insert);
      if (failed(insertByWorkgroup(c, insert, source.tensor(), written[k].writable(), writers[k], workgroup, slice)))
        return failure();
    }
    int64_t d = (int64_t)at.size() - 1;
    while (d >= 0 && (at[d] += step[d]) >= upper[d]) {
      at[d] = lower[d];
      --d;
    }
    isDone = d < 0;
  }
  for (auto [argument, who] : llvm::zip(sharedArguments, writers)) {
    if (failed(checkReads(c, *c.sharedReads(argument), who)))
      return failure();
    c.allSharedReads().erase(argument);
  }
  for (Value &v : written)
    c.results.push_back(std::move(v));
  return success();
}

void addUpstreamControl(Handlers &t) {
  t["func.call"] = evaluateCall;
  t["scf.if"] = evaluateIf;
  t["scf.for"] = evaluateFor;
  t["scf.while"] = evaluateWhile;
  t["scf.index_switch"] = evaluateIndexSwitch;
  t["scf.execute_region"] = evaluateRegion;
  t["scf.forall"] = evaluateForall;
}

} // namespace llmc::reference
