-- What was picked for each audience of a batch: number, candidates, results; each shard has counted its own people.
SELECT number, sum(candidates), sum(results)
FROM selections
WHERE written_on = {written_on:Date} AND batch = {batch:UUID}
GROUP BY number
ORDER BY number
