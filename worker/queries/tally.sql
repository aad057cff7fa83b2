-- What was picked for each audience of a batch: number, candidates, results.
SELECT number, candidates, results
FROM selections
WHERE written_on = {written_on:Date} AND batch = {batch:UUID}
ORDER BY number
