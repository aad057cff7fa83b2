-- The rows of a snapshot between two ranks, in rank order: one short query a page.
SELECT $columns
FROM audience_results
WHERE written_on = {written_on:Date}
    AND snapshot_key = {snapshot_key:UUID}
    AND rank BETWEEN {first:UInt64} AND {last:UInt64}
ORDER BY rank
