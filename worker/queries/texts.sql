-- The distinct texts of a range's people, by the code that stands for each in the serving index.
INSERT INTO serving_texts (piece, field, code, text)
WITH
$fold
SELECT {piece:UInt64}, pair.1, cityHash64(pair.2), pair.2
FROM
(
    SELECT arrayJoin(arrayConcat($texts)) AS pair
    FROM people
    WHERE hem_hash BETWEEN {low:UInt64} AND {high:UInt64}
)
