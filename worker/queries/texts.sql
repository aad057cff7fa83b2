-- The distinct texts of a range's people, by the code that stands for each in the serving index.
INSERT INTO serving_texts (piece, field, code, text)
WITH
$fold
SELECT {piece:UInt64} AS piece, pair.1 AS field, cityHash64(pair.2) AS code, pair.2 AS text
FROM
(
    SELECT arrayJoin(arrayConcat($texts)) AS pair
    FROM people
    WHERE hem_hash BETWEEN {low:UInt64} AND {high:UInt64}
)
