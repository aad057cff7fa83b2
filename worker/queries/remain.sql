-- What is left of a person, and of keys that were given up: one row.
SELECT count()
FROM audience_results
WHERE hem_hash = {hem_hash:UInt64} OR snapshot_key IN {keys:Array(UUID)}
