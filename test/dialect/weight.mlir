// llm.weight: one tensor, a stack of tensors. The stack's members are the tensors of those names.
// RUN: llmc-opt %s | llmc-opt | FileCheck %s
// RUN: llmc-reference %s --function=stacked --compare-function=one_by_one --tolerance=0

// CHECK-LABEL: @stacked
// CHECK: llm.weight "e.{}.w" stack 2 : tensor<2x3x4xbf16>
func.func @stacked() -> (tensor<3x4xbf16>, tensor<3x4xbf16>) {
  %w = llm.weight "e.{}.w" stack 2 : tensor<2x3x4xbf16>
  %a = tensor.extract_slice %w[0, 0, 0] [1, 3, 4] [1, 1, 1] : tensor<2x3x4xbf16> to tensor<3x4xbf16>
  %b = tensor.extract_slice %w[1, 0, 0] [1, 3, 4] [1, 1, 1] : tensor<2x3x4xbf16> to tensor<3x4xbf16>
  return %a, %b : tensor<3x4xbf16>, tensor<3x4xbf16>
}

// CHECK-LABEL: @one_by_one
// CHECK: llm.weight "e.0.w" : tensor<3x4xbf16>
func.func @one_by_one() -> (tensor<3x4xbf16>, tensor<3x4xbf16>) {
  %a = llm.weight "e.0.w" : tensor<3x4xbf16>
  %b = llm.weight "e.1.w" : tensor<3x4xbf16>
  return %a, %b : tensor<3x4xbf16>, tensor<3x4xbf16>
}
