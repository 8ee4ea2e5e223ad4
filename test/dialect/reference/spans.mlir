// Tables of sequences whose rows are computed from what a session knows, as an engine makes them, with bounds and settings of the same sessions.
// RUN: llmc-reference %s --expect --tokens=3 --past=2
// RUN: sed 's/"known 4 sub"/"known known sub 1 sub"/' %s > %t.mlir && not llmc-reference %t.mlir --expect --tokens=3 --past=2 2>&1 | FileCheck %s --check-prefix=NEVER
// RUN: sed 's/"known 4 sub"/"knwon"/' %s > %t.mlir && not llmc-reference %t.mlir --expect --tokens=3 --past=2 2>&1 | FileCheck %s --check-prefix=WORD
// NEVER: error: argument 1: no session has rows in its span
// WORD: error: argument 1: a span of rows has the unknown word 'knwon' in "knwon"

// Of patches of 4 tokens 2 known ones become 4, so that there is a patch before them, and 3 more another 4. What is off is on in the first sequence.
module attributes {llm.patch = array<i64: 4, 0>, llm.settings = [
    {column = 1 : i64, is_whole = true, least = 0.0 : f64, most = 9.0 : f64, name = "extras", standard = 0.0 : f64, words = []},
    {column = 3 : i64, is_whole = true, least = 1.0 : f64, most = 9.0 : f64, name = "width", standard = 2.0 : f64, words = []}]} {
  func.func @patches(%canvas: tensor<?x?xi32> {llm.value = dense<[[0, 0, 0, 0, 0, 0, 0, 0], [10, 11, 12, 13, 14, 15, 16, 17]]> : tensor<2x8xi32>},
      %before: !llm.sequences {llm.input = "sequences", llm.span = ["known 4 sub", "known"]},
      %block: !llm.sequences {llm.input = "block", llm.span = ["known", "known width add"]},
      %later: !llm.sequences {llm.input = "later", llm.span = ["end 1 sub", "end"]},
      %extra: !llm.sequences {llm.input = "extra", llm.span = ["start extras add", "end"]},
      %bounds: tensor<?x4xi32> {llm.dims = ["S"], llm.input = "bounds"},
      %settings: tensor<?x8xf32> {llm.dims = ["S"], llm.input = "settings"})
      -> (tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?x4xi32>, tensor<?x8xf32>)
      attributes {llm.expect = [dense<[10, 11, 12, 13]> : tensor<4xi32>, dense<[14, 15]> : tensor<2xi32>, dense<[17]> : tensor<1xi32>,
          dense<[15, 16, 17]> : tensor<3xi32>, dense<[[4, 8, 4, 0]]> : tensor<1x4xi32>,
          dense<[[0.0, 1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0]]> : tensor<1x8xf64>]} {
    %0 = llm.read_canvas %canvas, %before : (tensor<?x?xi32>, !llm.sequences) -> tensor<?xi32>
    %1 = llm.read_canvas %canvas, %block : (tensor<?x?xi32>, !llm.sequences) -> tensor<?xi32>
    %2 = llm.read_canvas %canvas, %later : (tensor<?x?xi32>, !llm.sequences) -> tensor<?xi32>
    %3 = llm.read_canvas %canvas, %extra : (tensor<?x?xi32>, !llm.sequences) -> tensor<?xi32>
    return %0, %1, %2, %3, %bounds, %settings : tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?xi32>, tensor<?x4xi32>, tensor<?x8xf32>
  }
}
