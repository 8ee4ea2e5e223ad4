// RUN: llmc-opt %s --prepare-tiles --bufferize-tiles --split-input-file -verify-diagnostics

func.func @reads_the_output_beside_its_shared_out(%o: tensor<?x8xf32> {llm.dims = ["T"], llm.written}) -> tensor<?x8xf32> attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %T = tensor.dim %o, %c0 : tensor<?x8xf32>
  // expected-error @+1 {{kernel 'reads_the_output_beside_its_shared_out': needs a copy of a buffer of type 'memref<?x8xf32>', as it would for written argument 0; inside scf.forall read a written argument only through its shared_outs}}
  %r = scf.forall (%t) in (%T) shared_outs(%oo = %o) -> (tensor<?x8xf32>) {
    %xt = tensor.extract_slice %o[%c0, 0] [1, 8] [1, 1] : tensor<?x8xf32> to tensor<8xf32>
    %y = math.exp %xt : tensor<8xf32>
    scf.forall.in_parallel { tensor.parallel_insert_slice %y into %oo[%t, 0] [1, 8] [1, 1] : tensor<8xf32> into tensor<?x8xf32> }
  }
  return %r : tensor<?x8xf32>
}

// -----

func.func @scratch_of_dynamic_shape(%x: tensor<?xf32> {llm.dims = ["T"]}, %o: tensor<1xf32> {llm.written}) -> tensor<1xf32> attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %T = tensor.dim %x, %c0 : tensor<?xf32>
  %r = scf.forall (%t) in (2) shared_outs(%oo = %o) -> (tensor<1xf32>) {
    // expected-error @+1 {{kernel 'scratch_of_dynamic_shape': needs a scratch buffer of the dynamic shape 'memref<?xf32>'; tile it to a static shape}}
    %y = math.exp %x : tensor<?xf32>
    %v = tensor.extract %y[%t] : tensor<?xf32>
    %s = tensor.insert %v into %oo[%c0] : tensor<1xf32>
    scf.forall.in_parallel { tensor.parallel_insert_slice %s into %oo[0] [1] [1] : tensor<1xf32> into tensor<1xf32> }
  }
  return %r : tensor<1xf32>
}

// -----

// expected-error @+1 {{kernel 'returns_too_little': returns 0 values, and 1 arguments are marked llm.written}}
func.func @returns_too_little(%o: tensor<8xf32> {llm.written}) attributes {llm.kernel} {
  return
}

// -----

// expected-error @+1 {{kernel 'returns_another_tensor': result 0 does not bufferize to written argument 1}}
func.func @returns_another_tensor(%x: tensor<8xf32>, %o: tensor<8xf32> {llm.written}) -> tensor<8xf32> attributes {llm.kernel} {
  return %x : tensor<8xf32>
}

// -----

// expected-error @+1 {{kernel 'too_much_scratch': needs 8388608 bytes of scratch, and a workgroup has 4194304; use smaller tiles}}
func.func @too_much_scratch(%x: tensor<2097152xf32>, %i: index, %o: tensor<1xf32> {llm.written}) -> tensor<1xf32> attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  %y = math.exp %x : tensor<2097152xf32>
  %v = tensor.extract %y[%i] : tensor<2097152xf32>
  %s = tensor.insert %v into %o[%c0] : tensor<1xf32>
  return %s : tensor<1xf32>
}

// -----

func.func @copies_a_static_output(%o: tensor<8x8xf32> {llm.written}) -> tensor<8x8xf32> attributes {llm.kernel} {
  %c0 = arith.constant 0 : index
  // expected-error @+1 {{kernel 'copies_a_static_output': needs a copy of a buffer of type 'memref<8x8xf32>', as it would for written argument 0}}
  %r = scf.forall (%t) in (8) shared_outs(%oo = %o) -> (tensor<8x8xf32>) {
    %xt = tensor.extract_slice %o[%c0, 0] [1, 8] [1, 1] : tensor<8x8xf32> to tensor<8xf32>
    %y = math.exp %xt : tensor<8xf32>
    scf.forall.in_parallel { tensor.parallel_insert_slice %y into %oo[%t, 0] [1, 8] [1, 1] : tensor<8xf32> into tensor<8x8xf32> }
  }
  return %r : tensor<8x8xf32>
}
