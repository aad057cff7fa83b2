SELECT uniqExact(hem_hash) FROM serving_index WHERE $matching
