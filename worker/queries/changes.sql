-- How one snapshot differs from an earlier one: one row of the rows of each, those of people who are new, of who left.
SELECT sum(here), sum(before), sumIf(here, before = 0), sumIf(before, here = 0)
FROM
(
    SELECT
        countIf(snapshot_key = {snapshot_key:UUID}) AS here,
        countIf(snapshot_key = {earlier_key:UUID}) AS before
    FROM audience_results
    WHERE (written_on = {written_on:Date} AND snapshot_key = {snapshot_key:UUID})
        OR (written_on = {earlier_written_on:Date} AND snapshot_key = {earlier_key:UUID})
    GROUP BY hem_hash
)
