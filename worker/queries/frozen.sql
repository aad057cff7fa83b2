-- What stands under each snapshot key of a batch; a key without rows has no row here.
SELECT snapshot_key, count(), min(rank), max(rank), uniqExact(rank)
FROM audience_results
WHERE written_on = {written_on:Date} AND snapshot_key IN {snapshot_keys:Array(UUID)}
GROUP BY snapshot_key
