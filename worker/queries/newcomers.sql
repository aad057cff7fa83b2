-- The people of a snapshot who are not in an earlier one, beyond a rank, in rank order: one short query a page.
SELECT rank, $columns
FROM audience_results
WHERE written_on = {written_on:Date}
    AND snapshot_key = {snapshot_key:UUID}
    AND rank > {beyond:UInt64}
    AND hem_hash GLOBAL NOT IN (
        SELECT hem_hash
        FROM audience_results
        WHERE written_on = {earlier_written_on:Date} AND snapshot_key = {earlier_key:UUID}
    )
ORDER BY rank
LIMIT {rows:UInt64}
