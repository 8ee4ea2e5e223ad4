// build-plan: what it refuses.
// RUN: llmc-opt %s --build-plan --split-input-file --verify-diagnostics

func.func @launch_of_no_kernel(%x: tensor<?x4xf32> {llm.dims = ["T"], llm.input = "x"}) -> tensor<?x4xf32> {
  // expected-error@+1 {{names a kernel that does not exist: k}}
  %y = llm.launch @k(%x) {tied = array<i64: -1>} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func private @k(%x: tensor<?x4xf32> {llm.dims = ["T"]}) -> tensor<?x4xf32> attributes {llm.kernel} {
  return %x : tensor<?x4xf32>
}
func.func @launch_of_too_many_buffers(%x: tensor<?x4xf32> {llm.dims = ["T"], llm.input = "x"}) -> tensor<?x4xf32> {
  // expected-error@+1 {{passes 2 buffers to a kernel of 1 arguments}}
  %y = llm.launch @k(%x) {tied = array<i64: -1>} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @pack_of_an_activation(%x: tensor<4x4xf32> {llm.input = "x"}) -> tensor<1x1x4x32xf32> {
  // expected-error@+1 {{expects weights of the checkpoint}}
  %p = llm.pack %x {groups = 1 : i64, panel = 32 : i64} : (tensor<4x4xf32>) -> tensor<1x1x4x32xf32>
  return %p : tensor<1x1x4x32xf32>
}

// -----

func.func @op_outside_of_a_kernel(%x: tensor<?x4xf32> {llm.dims = ["T"], llm.input = "x"}) -> tensor<?x2xf32> {
  // expected-error@+1 {{is not part of a kernel: run form-dispatches and form-kernels first}}
  %y = llm.slice %x at 0 : (tensor<?x4xf32>) -> tensor<?x2xf32>
  return %y : tensor<?x2xf32>
}

// -----

func.func private @layer(tensor<?x4xf32>) -> tensor<?x4xf32>
func.func @call_of_a_declaration(%x: tensor<?x4xf32> {llm.dims = ["T"], llm.input = "x"}) -> tensor<?x4xf32> {
  // expected-error@+1 {{expects a function of one block: layer}}
  %y = call @layer(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func private @layer(%x: tensor<?x4xf32>) -> tensor<?x4xf32> {
  // expected-error@+1 {{is recursive, and a plan is a flat list: layer}}
  %y = call @layer(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}
func.func @call_of_itself(%x: tensor<?x4xf32> {llm.dims = ["T"], llm.input = "x"}) -> tensor<?x4xf32> {
  %y = call @layer(%x) : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

// expected-error@+1 {{expects a program of one block}}
func.func @program_of_two_blocks(%x: tensor<?x4xf32> {llm.dims = ["T"], llm.input = "x"}) -> tensor<?x4xf32> {
  cf.br ^next
^next:
  return %x : tensor<?x4xf32>
}

// -----

// expected-error@+1 {{expects llm.input or llm.state on argument 0}}
func.func @argument_of_no_role(%x: tensor<?x4xf32>) {
  return
}

// -----

// expected-error@+1 {{expects output "y" to be a result of its own of a kernel that the program launches}}
func.func @output_that_no_kernel_makes(%x: tensor<?x4xf32> {llm.dims = ["T"], llm.input = "x"}) -> (tensor<?x4xf32> {llm.output = "y"}) {
  return %x : tensor<?x4xf32>
}

// -----

func.func private @k(%x: tensor<?x4xf32> {llm.dims = ["T"], llm.written}) -> tensor<?x4xf32> attributes {llm.kernel} {
  return %x : tensor<?x4xf32>
}
// expected-error@+1 {{expects output "y" to be a result of its own}}
func.func @output_that_is_a_state(%x: tensor<?x4xf32> {llm.dims = ["SLOTS"], llm.state = "x"}) -> (tensor<?x4xf32> {llm.output = "y"}) {
  %y = llm.launch @k(%x) {tied = array<i64: 0>} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func private @k(%x: tensor<?x4xf32> {llm.dims = ["T"], llm.written}) -> tensor<?x4xf32> attributes {llm.kernel} {
  return %x : tensor<?x4xf32>
}
// expected-error@+1 {{expects output "z" to be a result of its own}}
func.func @output_of_two_names() -> (tensor<?x4xf32> {llm.output = "y"}, tensor<?x4xf32> {llm.output = "z"}) {
  %y = llm.launch @k() {tied = array<i64: -1>} : () -> tensor<?x4xf32>
  return %y, %y : tensor<?x4xf32>, tensor<?x4xf32>
}

// -----

func.func private @k(%x: tensor<?x4xf32> {llm.dims = ["SLOTS"]}, %y: tensor<?x4xf32> {llm.dims = ["SLOTS"], llm.written}) -> tensor<?x4xf32> attributes {llm.kernel} {
  return %y : tensor<?x4xf32>
}
// expected-error@+1 {{returns a state that is not updated in place: "x"}}
func.func @state_in_new_memory(%x: tensor<?x4xf32> {llm.dims = ["SLOTS"], llm.state = "x"}) -> (tensor<?x4xf32> {llm.state = "x"}) {
  %y = llm.launch @k(%x) {tied = array<i64: -1>} : (tensor<?x4xf32>) -> tensor<?x4xf32>
  return %y : tensor<?x4xf32>
}

// -----

func.func @pack_of_rows_in_other_groups() {
  %w = llm.weight "w" : tensor<8x4xf32>
  %a = llm.pack %w {groups = 2 : i64, panel = 0 : i64, count = 2 : i64} : (tensor<8x4xf32>) -> tensor<2x2x4xf32>
  // expected-error@+1 {{expects 2 groups, as in the rows that it packs, got 1}}
  %b = llm.pack %a {groups = 1 : i64, panel = 32 : i64} : (tensor<2x2x4xf32>) -> tensor<1x1x4x32xf32>
  return
}
