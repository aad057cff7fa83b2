-- A snapshot once more, under a new key and without erased people: whoever stood below one moves up.
INSERT INTO audience_results
WITH
    (
        SELECT groupArray(rank)
        FROM audience_results
        WHERE written_on = {written_on:Date}
            AND snapshot_key = {old_key:UUID}
            AND hem_hash GLOBAL IN (SELECT hem_hash FROM erased_people)
    ) AS gone
SELECT shown.* REPLACE (
    {new_key:UUID} AS snapshot_key,
    toUInt64(shown.rank - arrayCount(place -> place < shown.rank, gone)) AS rank
)
FROM audience_results AS shown
WHERE shown.written_on = {written_on:Date} AND shown.snapshot_key = {old_key:UUID} AND NOT has(gone, shown.rank)
