func.func @takes_rows_of_each_group() -> (tensor<2x2x1xbf16>, tensor<2x1x1x4xbf16>) {
%a = arith.constant dense<[[1.0], [2.0], [3.0], [4.0], [5.0], [6.0]]> : tensor<6x1xbf16>
%rows = llm.pack %a {groups = 2 : i64, panel = 0 : i64, from = 1 : i64, count = 2 : i64} : (tensor<6x1xbf16>) -> tensor<2x2x1xbf16>
%panels = llm.pack %a {groups = 2 : i64, panel = 4 : i64, from = 1 : i64, count = 2 : i64} : (tensor<6x1xbf16>) -> tensor<2x1x1x4xbf16>
return %rows, %panels : tensor<2x2x1xbf16>, tensor<2x1x1x4xbf16>
}
