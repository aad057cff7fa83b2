-- Who is meant, as one would write it first: candidates joined with people on the hash of their e-mail.
$fold,
    candidates AS
    (
        SELECT
            hem_hash,
            max(score) AS best_score,
            uniqExact(topic_id) AS overlap,
            groupArray((-score, topic_id)) AS matches
        FROM intent_signals
        WHERE data_date = {data_date:Date}
            AND topic_id IN {topic_ids:Array(UInt32)}
            AND score BETWEEN {min_score:UInt8} AND {max_score:UInt8}
        GROUP BY hem_hash
        HAVING overlap >= {min_topic_overlap:UInt16} AND hem_hash NOT IN (SELECT hem_hash FROM erased_people)
    ),
    results AS
    (
        SELECT hem_hash, best_score, overlap, matches, $person_columns
        FROM people
        INNER JOIN candidates USING (hem_hash)
        WHERE true$filters
    )
