-- One piece of the serving index: a range's signals that can count, each with what filters ask about its person.
-- People the provider does not know stay, without the first flag: they are candidates all the same. Signals come in the
-- order that people lie in: a join in any other order would fetch each person's columns from anywhere in memory. Only
-- people with signals are kept in memory: most of a large population has none that day.
INSERT INTO serving_index (piece, topic_id, hem_hash, score, flags, $columns)
WITH
$fold
SELECT {piece:UInt64} AS piece, topic_id, hem_hash, score, flags, $columns
FROM
(
    SELECT topic_id, hem_hash, score
    FROM intent_signals
    WHERE data_date = {data_date:Date}
        AND score >= {lowest_score:UInt8}
        AND hem_hash BETWEEN {low:UInt64} AND {high:UInt64}
    ORDER BY hem_hash
) AS signal
LEFT ANY JOIN
(
    SELECT hem_hash, $flags AS flags, $coded
    FROM people
    WHERE hem_hash BETWEEN {low:UInt64} AND {high:UInt64}
        AND hem_hash IN (
            SELECT hem_hash
            FROM intent_signals
            WHERE data_date = {data_date:Date}
                AND score >= {lowest_score:UInt8}
                AND hem_hash BETWEEN {low:UInt64} AND {high:UInt64}
        )
) AS person USING (hem_hash)
