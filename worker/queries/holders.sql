-- Where a person stands: one row a snapshot key, whatever became of it.
SELECT DISTINCT snapshot_key, written_on
FROM audience_results
WHERE hem_hash = {hem_hash:UInt64}
