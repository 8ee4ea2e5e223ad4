// The ways of filling masks that families share: their rules and the settings that go with them.
#pragma once
#include "models/ModelBuilder.h"

namespace llmc {

/// LLaDA's loop: blocks one after the other on a canvas that is seen as a whole, a schedule of steps, Fast-dLLM's rules
/// (`threshold`, `factor`) and caches.
CanvasDecoding fillBlockByBlock(int64_t mask, int64_t context);
/// Dream's loop: all masks at once, their number falling with time from 1 to `eps`; row i predicts position i + 1.
CanvasDecoding fillByTime(int64_t mask, int64_t context);
/// Blocks of a fixed length that see what is before them, whose keys and values are kept: SDAR, LLaDA2.
CanvasDecoding fillKeptBlocks(int64_t mask, int64_t block, double threshold);
/// The same, and tokens that are filled may still change: LLaDA2.1. By default (an `editing` threshold of 1) none does, as in 2.0.
CanvasDecoding fillAndEditBlocks(int64_t mask, int64_t block, double threshold);
/// Kept blocks filled part after part, of which row i predicts position i + 1: Fast-dLLM v2, with its block cache (`cache`), which is off by
/// default, as published.
CanvasDecoding fillSubblocks(int64_t mask, int64_t block);

} // namespace llmc
