-- What stands under one snapshot key: one row.
SELECT count(), min(rank), max(rank), uniqExact(rank)
FROM audience_results
WHERE written_on = {written_on:Date} AND snapshot_key = {snapshot_key:UUID}
