-- Pick the people of many audiences: one row each of both counts and of the results with score, overlap and topics.
INSERT INTO selections (batch, written_on, number, candidates, results, people)
WITH
$fold
SELECT {batch:UUID} AS batch, {written_on:Date} AS written_on, number, candidates, results, people
FROM
(
    $members
)
