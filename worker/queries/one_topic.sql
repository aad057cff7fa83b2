SELECT count() FROM (SELECT DISTINCT hem_hash FROM serving_index WHERE $matching)
