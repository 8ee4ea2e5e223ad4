// build-plan and plan-memory: loops, and dispatches on the rows of several tables of sequences.
// RUN: llmc-opt %s --build-plan --plan-memory='max-tokens=64 max-sequences=4' --split-input-file --verify-diagnostics | FileCheck %s

// What the loop carries stays where it is: the state in its slot, `more` in the buffer that the condition reads, written anew by every trip. @advance.0 is made
// before the loop and read in it, so it lives through all trips, and @advance.2 of the loop cannot lie there.
// CHECK: plan.buffer "input" @advance.where
// CHECK: plan.buffer "input" @advance.block_where : tensor<?x2xi32> dims ["T"]
// CHECK: plan.buffer "input" @advance.block_rows : tensor<?x4xi32> dims ["S"]
// CHECK: plan.buffer "transient" @advance.0 : tensor<?x4xf32> dims ["T"] at 0
// CHECK: plan.buffer "transient" @advance.1 : tensor<?x1xi32> dims ["S"] at 1024
// CHECK: plan.buffer "transient" @advance.2 : tensor<?x4xf32> dims ["T"] at 1088
// CHECK: plan.program @advance inputs [{{.*}}] outputs [@advance.next] arena 2112 spans {{\[\[}}"0", "end"], ["known", "end"]] rows [64, 64] {
// CHECK-NEXT: plan.dispatch @make [@advance.where, @advance.rows, @advance.0]{{$}}
// CHECK-NEXT: plan.dispatch @step [@advance.0, @advance.block_where, @advance.block_rows, @state, @advance.1] span 1
// CHECK-NEXT: plan.loop while @advance.1 at_most 7 {
// CHECK-NEXT: plan.dispatch @pick [@advance.0, @advance.block_where, @advance.block_rows, @advance.2] span 1
// CHECK-NEXT: plan.dispatch @step [@advance.2, @advance.block_where, @advance.block_rows, @state, @advance.1] span 1
// CHECK-NEXT: }
// CHECK-NEXT: plan.dispatch @give [@state, @advance.next]
!rows = tensor<?x4xf32>
!state = tensor<?x?xi32>
!more = tensor<?x1xi32>
func.func private @make(%where: tensor<?x2xi32> {llm.dims = ["T"]}, %rows: tensor<?x4xi32> {llm.dims = ["S"]}, %y: !rows {llm.dims = ["T"], llm.written}) -> !rows
    attributes {llm.kernel} {
  return %y : !rows
}
func.func private @pick(%x: !rows {llm.dims = ["T"]}, %where: tensor<?x2xi32> {llm.dims = ["T"]}, %rows: tensor<?x4xi32> {llm.dims = ["S"]},
    %y: !rows {llm.dims = ["T"], llm.written}) -> !rows attributes {llm.kernel} {
  return %y : !rows
}
func.func private @step(%x: !rows {llm.dims = ["T"]}, %where: tensor<?x2xi32> {llm.dims = ["T"]}, %rows: tensor<?x4xi32> {llm.dims = ["S"]},
    %c: !state {llm.dims = ["SLOTS", "CTX"], llm.written}, %m: !more {llm.dims = ["S"], llm.written}) -> (!state, !more) attributes {llm.kernel} {
  return %c, %m : !state, !more
}
func.func private @give(%c: !state {llm.dims = ["SLOTS", "CTX"]}, %n: !state {llm.dims = ["S", "CTX"], llm.written}) -> !state attributes {llm.kernel} {
  return %n : !state
}
func.func @advance(%first: !llm.sequences {llm.input = "sequences", llm.span = ["0", "end"]}, %block: !llm.sequences {llm.input = "block", llm.span = ["known", "end"]},
    %canvas: !state {llm.dims = ["SLOTS", "CTX"], llm.state = "state"}) -> (!state {llm.output = "next", llm.dims = ["S", "CTX"]}, !state {llm.state = "state"}) {
  %x = llm.launch @make(%first) {tied = array<i64: -1>} : (!llm.sequences) -> !rows
  %c0, %m0 = llm.launch @step(%x, %block, %canvas) {tied = array<i64: 2, -1>} : (!rows, !llm.sequences, !state) -> (!state, !more)
  %m, %c = scf.while (%more = %m0, %now = %c0) : (!more, !state) -> (!more, !state) {
    %any = llm.any %more : !more
    scf.condition(%any) %more, %now : !more, !state
  } do {
  ^bb0(%more: !more, %now: !state):
    %y = llm.launch @pick(%x, %block) {tied = array<i64: -1>} : (!rows, !llm.sequences) -> !rows
    %c1, %m1 = llm.launch @step(%y, %block, %now) {tied = array<i64: 2, -1>} : (!rows, !llm.sequences, !state) -> (!state, !more)
    scf.yield %m1, %c1 : !more, !state
  } attributes {llm.at_most = 7 : i64}
  %n = llm.launch @give(%c) {tied = array<i64: -1>} : (!state) -> !state
  return %n, %c : !state, !state
}

// -----

!more = tensor<?x1xi32>
func.func private @k(%y: !more {llm.dims = ["S"], llm.written}) -> !more attributes {llm.kernel} {
  return %y : !more
}
func.func @loop_without_a_bound() {
  %m0 = llm.launch @k() {tied = array<i64: -1>} : () -> !more
  // expected-error@+1 {{expects llm.at_most, the largest number of trips}}
  %m = scf.while (%more = %m0) : (!more) -> !more {
    %any = llm.any %more : !more
    scf.condition(%any) %more : !more
  } do {
  ^bb0(%more: !more):
    %m1 = llm.launch @k() {tied = array<i64: -1>} : () -> !more
    scf.yield %m1 : !more
  }
  return
}

// -----

!more = tensor<?x1xi32>
func.func private @k(%y: !more {llm.dims = ["S"], llm.written}) -> !more attributes {llm.kernel} {
  return %y : !more
}
func.func @loop_on_something_else(%go: i1 {llm.input = "go"}) {
  %m0 = llm.launch @k() {tied = array<i64: -1>} : () -> !more
  // expected-error@+1 {{expects as condition llm.any of a carried value, and nothing else before the body}}
  %m = scf.while (%more = %m0) : (!more) -> !more {
    scf.condition(%go) %more : !more
  } do {
  ^bb0(%more: !more):
    %m1 = llm.launch @k() {tied = array<i64: -1>} : () -> !more
    scf.yield %m1 : !more
  } attributes {llm.at_most = 7 : i64}
  return
}

// -----

!more = tensor<?x1xi32>
func.func private @k(%x: !more {llm.dims = ["S"]}, %y: !more {llm.dims = ["S"], llm.written}) -> !more attributes {llm.kernel} {
  return %y : !more
}
func.func @value_that_is_read_and_made_anew(%x: !more {llm.dims = ["S"], llm.input = "x"}) {
  %m0 = llm.launch @k(%x) {tied = array<i64: -1>} : (!more) -> !more
  // expected-error@+1 {{expects carried value 0, which is made anew in each trip, to be read by the condition and by what comes before that only}}
  %m = scf.while (%more = %m0) : (!more) -> !more {
    %any = llm.any %more : !more
    scf.condition(%any) %more : !more
  } do {
  ^bb0(%more: !more):
    %m1 = llm.launch @k(%more) {tied = array<i64: -1>} : (!more) -> !more
    scf.yield %m1 : !more
  } attributes {llm.at_most = 7 : i64}
  return
}

// -----

!rows = tensor<?x4xf32>
func.func private @make(%where: tensor<?x2xi32> {llm.dims = ["T"]}, %rows: tensor<?x4xi32> {llm.dims = ["S"]}, %y: !rows {llm.dims = ["T"], llm.written}) -> !rows
    attributes {llm.kernel} {
  return %y : !rows
}
func.func private @add(%x: !rows {llm.dims = ["T"]}, %y: !rows {llm.dims = ["T"]}, %z: !rows {llm.dims = ["T"], llm.written}) -> !rows attributes {llm.kernel} {
  return %z : !rows
}
func.func @advance(%first: !llm.sequences {llm.input = "sequences", llm.span = ["0", "end"]}, %block: !llm.sequences {llm.input = "block", llm.span = ["known", "end"]}) {
  %x = llm.launch @make(%first) {tied = array<i64: -1>} : (!llm.sequences) -> !rows
  %y = llm.launch @make(%block) {tied = array<i64: -1>} : (!llm.sequences) -> !rows
  // expected-error@+1 {{reads rows of two tables of sequences and none of the tables}}
  %z = llm.launch @add(%x, %y) {tied = array<i64: -1>} : (!rows, !rows) -> !rows
  return
}

// -----

// A table that the loop carries is two transients, written anew at the end of each trip. The condition, which is made with it, counts its rows: those of span 1, the first table that
// it is made of. What makes it works on the rows of the last one.
// CHECK-DAG: plan.buffer "transient" @advance.0 : tensor<?x2xi32> dims ["T"]
// CHECK-DAG: plan.buffer "transient" @advance.1 : tensor<?x4xi32> dims ["S"]
// CHECK-DAG: plan.buffer "transient" @advance.2 : tensor<?x1xi32> dims ["S"]
// CHECK: plan.dispatch @narrow [@advance.later_where, @advance.later_rows, @advance.block_where, @advance.block_rows, @advance.0, @advance.1, @advance.2] span 2
// CHECK-NEXT: plan.loop while @advance.2 at_most 7 rows 1 {
// CHECK-NEXT: plan.dispatch @fill [@advance.0, @advance.1, @state] span 1
// CHECK-NEXT: plan.dispatch @narrow [@advance.later_where, @advance.later_rows, @advance.block_where, @advance.block_rows, @advance.0, @advance.1, @advance.2] span 2
// CHECK-NEXT: }
!where = tensor<?x2xi32>
!rows = tensor<?x4xi32>
!state = tensor<?x?xi32>
!more = tensor<?x1xi32>
func.func private @narrow(%mw: !where {llm.dims = ["T"]}, %mr: !rows {llm.dims = ["S"]}, %bw: !where {llm.dims = ["T"]}, %br: !rows {llm.dims = ["S"]},
    %w: !where {llm.dims = ["T"], llm.written}, %r: !rows {llm.dims = ["S"], llm.written}, %m: !more {llm.dims = ["S"], llm.written}) -> (!where, !rows, !more)
    attributes {llm.kernel} {
  return %w, %r, %m : !where, !rows, !more
}
func.func private @fill(%w: !where {llm.dims = ["T"]}, %r: !rows {llm.dims = ["S"]}, %c: !state {llm.dims = ["SLOTS", "CTX"], llm.written}) -> !state attributes {llm.kernel} {
  return %c : !state
}
func.func @advance(%first: !llm.sequences {llm.input = "sequences", llm.span = ["0", "end"]}, %later: !llm.sequences {llm.input = "later", llm.span = ["known", "end"]},
    %block: !llm.sequences {llm.input = "block", llm.span = ["known", "end"]}, %canvas: !state {llm.dims = ["SLOTS", "CTX"], llm.state = "state"})
    -> (!state {llm.state = "state"}) {
  %t0, %m0 = llm.launch @narrow(%later, %block) {tied = array<i64: -1, -1>} : (!llm.sequences, !llm.sequences) -> (!llm.sequences, !more)
  %m, %t, %c = scf.while (%more = %m0, %table = %t0, %now = %canvas) : (!more, !llm.sequences, !state) -> (!more, !llm.sequences, !state) {
    %any = llm.any %more : !more
    scf.condition(%any) %more, %table, %now : !more, !llm.sequences, !state
  } do {
  ^bb0(%more: !more, %table: !llm.sequences, %now: !state):
    %c1 = llm.launch @fill(%table, %now) {tied = array<i64: 1>} : (!llm.sequences, !state) -> !state
    %t1, %m1 = llm.launch @narrow(%later, %block) {tied = array<i64: -1, -1>} : (!llm.sequences, !llm.sequences) -> (!llm.sequences, !more)
    scf.yield %m1, %t1, %c1 : !more, !llm.sequences, !state
  } attributes {llm.at_most = 7 : i64}
  return %c : !state
}

// -----

!more = tensor<?x1xi32>
func.func private @k(%y: !more {llm.dims = ["S"], llm.written}) -> !more attributes {llm.kernel} {
  return %y : !more
}
func.func @table_that_nothing_counts(%first: !llm.sequences {llm.input = "sequences", llm.span = ["0", "end"]}, %later: !llm.sequences {llm.input = "later", llm.span = ["known", "end"]}) {
  %m0 = llm.launch @k() {tied = array<i64: -1>} : () -> !more
  // expected-error@+1 {{expects carried table 1 to be the only one, made together with the condition, which counts its rows}}
  %m, %t = scf.while (%more = %m0, %table = %later) : (!more, !llm.sequences) -> (!more, !llm.sequences) {
    %any = llm.any %more : !more
    scf.condition(%any) %more, %table : !more, !llm.sequences
  } do {
  ^bb0(%more: !more, %table: !llm.sequences):
    %m1 = llm.launch @k() {tied = array<i64: -1>} : () -> !more
    scf.yield %m1, %table : !more, !llm.sequences
  } attributes {llm.at_most = 7 : i64}
  return
}
