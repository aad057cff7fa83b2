-- What was picked for each audience of a batch, and what stands under its snapshot key: number, candidates, results,
-- rows, lowest rank, highest rank, distinct ranks, and by now the newest versions of the day's signals and of people.
-- Each shard has counted its own people.
WITH
    (
        SELECT (maxIf(version, dataset = 'signals'), maxIf(version, dataset = 'people'))
        FROM data_loads
        WHERE dataset = 'people' OR (dataset = 'signals' AND data_date = {data_date:Date})
    ) AS loaded
SELECT number, candidates, results, rows, lowest, highest, ranks, loaded.1, loaded.2
FROM
(
    SELECT
        number,
        {snapshot_keys:Array(UUID)}[number] AS snapshot_key,
        sum(selections.candidates) AS candidates,
        sum(selections.results) AS results
    FROM selections
    WHERE written_on = {written_on:Date} AND batch = {batch:UUID}
    GROUP BY number
) AS picked
LEFT JOIN
(
    SELECT snapshot_key, count() AS rows, min(rank) AS lowest, max(rank) AS highest, uniqExact(rank) AS ranks
    FROM audience_results
    WHERE written_on = {written_on:Date} AND snapshot_key IN {snapshot_keys:Array(UUID)}
    GROUP BY snapshot_key
) AS written USING (snapshot_key)
ORDER BY number
