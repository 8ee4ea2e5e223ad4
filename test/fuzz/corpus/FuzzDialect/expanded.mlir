func.func @expanded(%q: tensor<?x18xf32>, %cache: tensor<?x?x7xf32>, %s: !llm.sequences) -> tensor<?x9xf32> {
%up = llm.weight "up" : tensor<21x5xbf16>
%o = llm.latent_attention %q, %cache, %up, %s {heads = 3 : i64, nope = 4 : i64, rope = 2 : i64, scale = 0.4 : f64, form = "expanded"} : (tensor<?x18xf32>, tensor<?x?x7xf32>, tensor<21x5xbf16>, !llm.sequences) -> tensor<?x9xf32>
return %o : tensor<?x9xf32>
}
