// What is known to have happened before what, so that races are found whatever the order in which fibers ran.
//
// Time is one counter, advanced whenever a thread publishes what it did (a barrier, an arrival, a release).
// An actor is a thread or one of the engines that work beside it (asynchronous copies, tensor cores); an
// access is (actor, stamp) with the time at which the actor last published. A view tells for every actor up
// to which time its accesses happened before whoever has the view:
//
//     thread 0:  write x (0, 7)   barrier: publishes, everyone's view gets [0: 8]   stamp is 9 from now on
//     thread 1:                   reads x: the view says 8 for actor 0, 7 <= 8: ordered
//
// `fenced` says the same of writes that a fence.proxy.async has made visible to the asynchronous proxy.
#pragma once
#include <cstdint>
#include <memory>
#include <vector>

namespace llmc::sim {

using Stamp = uint32_t;
using Actor = uint32_t; ///< from 1; 0 is no one

/// The part of a view that concerns the actors [first, first + seen.size()) of one block.
struct BlockView {
  Actor first = 0;
  Stamp barrier = 0; ///< all accesses of the block's threads up to then are seen: its last barrier of all
  std::vector<Stamp> seen, fenced;
};

/// Immutable once shared. Almost always of one block.
struct View {
  std::vector<std::shared_ptr<const BlockView>> blocks;

  Stamp seen(Actor actor) const;
  Stamp fenced(Actor actor) const;
  /// The barrier of the block whose actors start at `first`.
  Stamp barrierOf(Actor first) const;
};
using ViewPointer = std::shared_ptr<const View>;

/// A view in the making: what several threads publish together.
class ViewBuilder {
public:
  void join(const ViewPointer &view);
  /// What `view` has seen counts as fenced.
  void joinFenced(const ViewPointer &view);
  void see(Actor firstOfBlock, Actor actor, Stamp stamp);
  void fence(Actor firstOfBlock, Actor actor, Stamp stamp);
  void passBarrier(Actor firstOfBlock, Stamp stamp) { blockOf(firstOfBlock).barrier = stamp; }
  bool isEmpty() const { return blocks_.empty(); }
  ViewPointer finish();

private:
  BlockView &blockOf(Actor first);
  std::vector<std::shared_ptr<BlockView>> blocks_;
  ViewPointer last_, lastFenced_; ///< joined already; many threads share one
};

/// What one thread knows: what it has learnt from others, and what it alone knows of itself and its engines.
struct Knowledge {
  static constexpr int kEngines = 3;
  ViewPointer view, fencedFrom; ///< what fencedFrom has seen is fenced
  Actor first = 0;              ///< of its block
  Actor self = 0;
  Stamp stamp = 0, fencedStamp = 0;
  struct Engine {
    Actor actor = 0;
    Stamp done = 0;
  } engines[kEngines];

  /// Up to when `actor`'s accesses happened before the thread's next one.
  Stamp seen(Actor actor) const {
    const Stamp learnt = view ? view->seen(actor) : 0;
    for (const Engine &engine : engines)
      if (engine.actor == actor)
        return engine.done > learnt ? engine.done : learnt;
    return actor == self ? UINT32_MAX : learnt;
  }
  Stamp fenced(Actor actor) const {
    Stamp known = actor == self ? fencedStamp : view ? view->fenced(actor) : 0;
    Stamp own = fencedFrom ? fencedFrom->seen(actor) : 0;
    return known > own ? known : own;
  }
  /// Tells `builder` all that the thread knows, up to the time `now`, after which its stamp must be later.
  void publish(ViewBuilder &builder, Stamp now) const;
};

/// The join of two views; either may be null.
ViewPointer joinViews(const ViewPointer &x, const ViewPointer &y);

} // namespace llmc::sim
