-- Who is meant, shared by count and write: candidates match topics, scores and overlap; results pass the filters too.
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
        SELECT hem_hash, $person_columns
        FROM people
        WHERE hem_hash IN (SELECT hem_hash FROM candidates)$filters
    )
