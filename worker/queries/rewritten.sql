-- What a rewriting came to, one row: rows, lowest, highest and distinct ranks and erased people under the new key; rows
-- and erased people under the old one.
SELECT
    countIf(new),
    minIf(rank, new),
    maxIf(rank, new),
    uniqExactIf(rank, new),
    countIf(new AND erased),
    countIf(NOT new),
    countIf(NOT new AND erased)
FROM
(
    SELECT rank, snapshot_key = {new_key:UUID} AS new, hem_hash GLOBAL IN (SELECT hem_hash FROM erased_people) AS erased
    FROM audience_results
    WHERE written_on = {written_on:Date} AND snapshot_key IN ({old_key:UUID}, {new_key:UUID})
)
