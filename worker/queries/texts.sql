-- The distinct texts of a range's people with signals, by the code that stands for each in the serving index. Those of
-- the others are not asked for, and there may be many times as many.
INSERT INTO serving_texts (piece, field, code, text)
WITH
$fold
SELECT {piece:UInt64} AS piece, pair.1 AS field, cityHash64(pair.2) AS code, pair.2 AS text
FROM
(
    SELECT arrayJoin(arrayConcat($texts)) AS pair
    FROM people
    WHERE hem_hash BETWEEN {low:UInt64} AND {high:UInt64}
        AND hem_hash IN (
            SELECT hem_hash
            FROM intent_signals
            WHERE data_date = {data_date:Date}
                AND score >= {lowest_score:UInt8}
                AND hem_hash BETWEEN {low:UInt64} AND {high:UInt64}
        )
)
