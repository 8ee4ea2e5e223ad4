// Views and their joins. See Clock.h.
#include "runtime/sim/Clock.h"
#include <algorithm>

namespace llmc::sim {

static Stamp valueAt(const std::vector<Stamp> &stamps, Actor index) {
  return index < stamps.size() ? stamps[index] : 0;
}

static void raise(std::vector<Stamp> &to, const std::vector<Stamp> &from) {
  if (to.size() < from.size())
    to.resize(from.size());
  for (size_t i = 0; i < from.size(); ++i)
    to[i] = std::max(to[i], from[i]);
}

/// Blocks have disjoint ranges of actors, so the right one is that with the greatest first below the actor;
/// an index beyond its end was never seen.
static const BlockView *find(const View &view, Actor actor) {
  const BlockView *best = nullptr;
  for (const auto &block : view.blocks)
    if (block->first <= actor && (!best || best->first < block->first))
      best = block.get();
  return best;
}

Stamp View::seen(Actor actor) const {
  const BlockView *block = find(*this, actor);
  return block ? valueAt(block->seen, actor - block->first) : 0;
}

Stamp View::fenced(Actor actor) const {
  const BlockView *block = find(*this, actor);
  return block ? valueAt(block->fenced, actor - block->first) : 0;
}

Stamp View::barrierOf(Actor first) const {
  for (const auto &block : blocks)
    if (block->first == first)
      return block->barrier;
  return 0;
}

BlockView &ViewBuilder::blockOf(Actor first) {
  for (auto &block : blocks_)
    if (block->first == first)
      return *block;
  blocks_.push_back(std::make_shared<BlockView>());
  blocks_.back()->first = first;
  return *blocks_.back();
}

void ViewBuilder::join(const ViewPointer &view) {
  if (!view || view == last_)
    return;
  last_ = view;
  for (const auto &block : view->blocks) {
    BlockView &mine = blockOf(block->first);
    mine.barrier = std::max(mine.barrier, block->barrier);
    raise(mine.seen, block->seen);
    raise(mine.fenced, block->fenced);
  }
}

void ViewBuilder::joinFenced(const ViewPointer &view) {
  if (!view || view == lastFenced_)
    return;
  lastFenced_ = view;
  for (const auto &block : view->blocks)
    raise(blockOf(block->first).fenced, block->seen);
}

static void raiseOne(std::vector<Stamp> &stamps, Actor index, Stamp stamp) {
  if (stamps.size() <= index)
    stamps.resize(index + 1);
  stamps[index] = std::max(stamps[index], stamp);
}

void ViewBuilder::see(Actor firstOfBlock, Actor actor, Stamp stamp) {
  if (stamp)
    raiseOne(blockOf(firstOfBlock).seen, actor - firstOfBlock, stamp);
}

void ViewBuilder::fence(Actor firstOfBlock, Actor actor, Stamp stamp) {
  if (stamp)
    raiseOne(blockOf(firstOfBlock).fenced, actor - firstOfBlock, stamp);
}

ViewPointer ViewBuilder::finish() {
  auto view = std::make_shared<View>();
  for (auto &block : blocks_)
    view->blocks.push_back(std::move(block));
  blocks_.clear();
  last_ = lastFenced_ = nullptr;
  return view;
}

void Knowledge::publish(ViewBuilder &builder, Stamp now) const {
  builder.join(view);
  builder.joinFenced(fencedFrom);
  builder.see(first, self, now);
  builder.fence(first, self, fencedStamp);
  for (const Engine &engine : engines)
    if (engine.actor)
      builder.see(first, engine.actor, engine.done);
}

ViewPointer joinViews(const ViewPointer &x, const ViewPointer &y) {
  if (!x || x == y)
    return y;
  if (!y)
    return x;
  ViewBuilder builder;
  builder.join(x);
  builder.join(y);
  return builder.finish();
}

} // namespace llmc::sim
