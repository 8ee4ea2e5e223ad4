// Decoding on a canvas: the tokens of a sequence by position, some of them still masks, which denoising steps replace.
#ifndef LLMC_DIALECT_LLM_CANVASOPS_TD
#define LLMC_DIALECT_LLM_CANVASOPS_TD
include "dialect/llm/LlmDialect.td"

// What one call of `advance` does for a sequence. Three tables of sequences occur: the rows of a first forward, those of later forwards, and
// those of the block that is being filled.
//
//      position  0 ........ start ........ known ......... ......... end
//                [  prompt  ][  finished   ][     masks, later tokens   ]
//                                           [ the block ]
//
// `bounds [S, 4]` i32 = (known, end, start, unused). `settings [S, 8]` f32 = (block, steps, remask, threshold, factor, cache, guidance, extra); a model gives
// its own names, defaults and limits to the columns that it reads, and a rule of `llm.unmask` may use `factor` and `extra` for what it needs. `progress [S, 4]` i32 = (steps done, masks when the block was opened, 1 if the
// logits of a row were not finite, steps without a mask left or -1 for a block that is finished).

def Llm_WriteCanvasOp : Llm_Op<"write_canvas", [Pure]> {
  let summary = "puts each row's token at its position";
  let description = [{`canvas[slot(t), position(t)] = tokens[t]`; tokens `[T]`, canvas `[B, CTX]`.}];
  let arguments = (ins Llm_Ids:$tokens, Llm_Canvas:$canvas, Llm_SequencesType:$sequences);
  let results = (outs Llm_Canvas:$updated);
  let assemblyFormat = "$tokens `into` $canvas `,` $sequences attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_ReadCanvasOp : Llm_Op<"read_canvas", [Pure]> {
  let summary = "the token at each row's position";
  let description = [{
    `tokens[t] = canvas[slot(t), position(t)]`. With `hidden = id`, which takes `bounds`, positions below `start` read as that id instead: the forward of
    guidance without the prompt.
  }];
  let arguments = (ins Llm_Canvas:$canvas, Llm_SequencesType:$sequences, Optional<Llm_Bounds>:$bounds, OptionalAttr<Llm_NonNegative>:$hidden);
  let results = (outs Llm_Ids:$tokens);
  let assemblyFormat = "$canvas `,` $sequences (`bounds` $bounds^)? attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_OpenBlockOp : Llm_Op<"open_block", [Pure]> {
  let summary = "masks what is not known yet and starts the count of steps";
  let description = [{
    For each sequence, every position from `known` to the end of its rows in `sequences` becomes `mask`. `progress` = (0, masks of the block, 0, 0), the block
    being the rows of `block`.
  }];
  let arguments = (ins Llm_Canvas:$canvas, Llm_SequencesType:$sequences, Llm_SequencesType:$block, Llm_Bounds:$bounds, Llm_NonNegative:$mask);
  let results = (outs Llm_Canvas:$updated, Llm_Bounds:$progress);
  let assemblyFormat = "$canvas `,` $sequences `,` $block `,` $bounds attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_SelectRowsOp : Llm_Op<"select_rows", [Pure]> {
  let summary = "the rows of one table of sequences that another one asks for";
  let description = [{
    Row (sequence s, position p) of `wanted` is the row of `x` at (s, max(p - shift, 0)), `x` having the rows of `from`. `shift = 1` is for models whose row
    i predicts position i + 1. Asking for a row that `from` does not have takes the nearest one of the sequence; of a sequence without rows in `from` it is 0.
  }];
  let arguments = (ins Llm_Rows:$x, Llm_SequencesType:$from, Llm_SequencesType:$wanted, DefaultValuedAttr<Llm_NonNegative, "0">:$shift);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$x `,` $from `,` $wanted attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_GuideOp : Llm_Op<"guide", [Pure]> {
  let summary = "moves rows away from what they would be without the prompt";
  let description = [{
    Classifier-free guidance, for the rows of `block`: with w = the sequence's setting guidance, `unprompted + (w + 1) (x - unprompted)` if w > 0, else `x` whatever `unprompted` holds.
    What is linear in the rows, as the logits are in the last normalised states, is guided by it in the same way.
  }];
  let arguments = (ins Llm_Rows:$x, Llm_Rows:$unprompted, Llm_SequencesType:$block, Llm_Rows:$settings);
  let results = (outs Llm_Rows:$result);
  let assemblyFormat = "$x `,` $unprompted `,` $block `,` $settings attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_PredictOp : Llm_Op<"predict", [Pure]> {
  let summary = "a token and a confidence for each row of the block";
  let description = [{
    `logits [U, V]` for the rows of `block`, `sampling` and `draws` as in `llm.sample`. The token `[U]` is drawn among all ids but `mask`: the largest logit (lowest index
    on ties) at a temperature that is not above 0; else, among those that top_k and top_p keep as in `llm.sample`, the largest of `l_v - temperature * ln(-ln(1 - x_v))`, which is a
    draw from their softmax at that temperature. `x_v = (word + 0.5) * 2^-32` with the first word of Philox4x32-10 keyed by the seed at counter (position low, position
    high, 1 + steps done, v).
    The confidence `[U, 1]` depends on the setting remask: 0 the token's probability, 1 or 4 a random number (x_V), 2 the negative entropy
    sum p ln(p + 1e-10), 3 the difference of the two largest probabilities. Probabilities are softmax(logits) over all ids, or, with `tempered` and a temperature above 0, over the kept ids at that
    temperature. A row with a NaN or +infinity, or nothing but -infinity, gives token -1.
  }];
  let arguments = (ins Llm_Rows:$logits, Llm_SequencesType:$block, Llm_Rows:$sampling, Llm_Draws:$draws, Llm_Rows:$settings, Llm_Bounds:$progress,
                       Llm_NonNegative:$mask, UnitAttr:$tempered);
  let results = (outs Llm_Ids:$tokens, Llm_Rows:$confidence);
  let assemblyFormat = "$logits `,` $block `,` $sampling `,` $draws `,` $settings `,` $progress attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

def Llm_UnmaskOp : Llm_Op<"unmask", [Pure]> {
  let summary = "commits the most confident of the block's masks";
  let description = [{
    Looks at the m positions of the block that hold `mask` and are not below `known`; ties of confidence go to the lower position. With i = steps done and M = masks when the block was opened:
    * `transfer`: threshold > 0: all with confidence >= threshold, and the best. Else factor f > 0: sorted confidences c_1 >= ... >= c_m against 1 - f/(n + 1), the first always passing; r = the first
      that fails, counted from 0 (m - 1 if none); r + 1 if r is 0 or m - 1; the best r. Else the best n_i, n_i the i-th share of M in s steps: floor(M/s), one more for i < M mod s, where s =
      max(1, floor(steps / ceil((end - start) / block))); all that are left when i >= s.
    * `dynamic`: those with confidence > threshold if they are at least n_i (the share of `block` in `steps` steps), else the best n_i.
    * `edit`: as `dynamic`, and every position that is not below `known` and holds another token than the drawn one, with confidence > extra, takes it.
    * `subblock`: looks only at the first run of `extra` positions, counted from where the block's rows begin, that has a mask: those with confidence > threshold, and the best. In the first
      step of a block that begins at known > 0 it commits the position `known` and no other.
    * `timestep`: the best floor(m (1 - t'/t)) with t = 1 - (1 - extra) i/steps, t' the same for i + 1; all at the last step. With the setting remask 4 instead those with a confidence above t'/t.
    `more [S, 1]` is 1 while the sequence's block goes on: while it holds a mask, and with `edit` also while the last step committed or changed something, for at most `factor` steps without a mask left (none if extra >= 1, which no confidence exceeds); then progress
    notes that it is finished, and later steps, which other sequences need, leave it as it is. A token of -1 ends the
    sequence's block: progress notes it and -1 is written.
  }];
  let arguments = (ins Llm_Canvas:$canvas, Llm_Ids:$tokens, Llm_Rows:$confidence, Llm_SequencesType:$block, Llm_Bounds:$bounds,
                       Llm_Rows:$settings, Llm_Bounds:$progress, StrAttr:$rule, Llm_NonNegative:$mask);
  let results = (outs Llm_Canvas:$updated, Llm_Bounds:$advanced, Llm_Ids:$more);
  let assemblyFormat = [{
    $canvas `,` $tokens `,` $confidence `,` $block `,` $bounds `,` $settings `,` $progress `rule` $rule attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Llm_NextRowsOp : Llm_Op<"next_rows", [Pure]> {
  let summary = "the rows that the next step of a block computes anew";
  let description = [{
    For each sequence none if its block, the rows of `block`, has no mask (a position that holds `mask` and is not below `known`), or if progress notes logits that were not
    finite. Else its rows of `most`; but with the setting cache above 0 only the part that the first mask is in, `extra` positions counted from where the block begins, as far as
    it reaches. All of `most` then still come while the part's first position is a mask, and before a step has computed them: in the first step of a block that begins at
    known > 0 (see `llm.unmask`) none has. What else the part attends to are the keys and values that were computed last.
    `counts [S, 1]` is how many rows each sequence has in `rows`. A loop of the plan may carry both: it goes on while one of the counts is not 0.
  }];
  let arguments = (ins Llm_Canvas:$canvas, Llm_SequencesType:$most, Llm_SequencesType:$block, Llm_Bounds:$bounds, Llm_Rows:$settings, Llm_Bounds:$progress,
                       Llm_NonNegative:$mask);
  let results = (outs Llm_SequencesType:$rows, Llm_Ids:$counts);
  let assemblyFormat = [{
    $canvas `,` $most `,` $block `,` $bounds `,` $settings `,` $progress attr-dict `:` functional-type(operands, results)
  }];
  let hasVerifier = 1;
}

def Llm_AnyOp : Llm_Op<"any", [Pure]> {
  let summary = "whether any sequence goes on";
  let description = [{
    True if an element of `more` (see `llm.unmask`, `llm.next_rows`) is not 0: the condition of an `scf.while` that becomes a loop of the plan.
  }];
  let arguments = (ins Llm_Ids:$more);
  let results = (outs I1:$result);
  let assemblyFormat = "$more attr-dict `:` type($more)";
}

def Llm_EmitBlockOp : Llm_Op<"emit_block", [Pure]> {
  let summary = "the tokens that a call has made";
  let description = [{
    `next [S, W]`: the canvas from `known` to the end of the block's rows, then -2 (no token). If progress notes logits that were not finite, -1 comes first.
  }];
  let arguments = (ins Llm_Canvas:$canvas, Llm_SequencesType:$block, Llm_Bounds:$bounds, Llm_Bounds:$progress);
  let results = (outs Llm_Ids:$next);
  let assemblyFormat = "$canvas `,` $block `,` $bounds `,` $progress attr-dict `:` functional-type(operands, results)";
  let hasVerifier = 1;
}

#endif
