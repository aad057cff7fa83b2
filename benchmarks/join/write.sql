-- Freeze the results under one snapshot key, ranked with all they carry.
INSERT INTO audience_results
    (snapshot_key, written_on, rank, data_date, hem_hash, score, topic_overlap, matched_topics, $person_columns)
WITH
$who,
    (
        SELECT mapFromArrays(groupArray(topic_id), groupArray((name, type, industry, category)))
        FROM topics
        WHERE topic_id IN {topic_ids:Array(UInt32)}
    ) AS called
SELECT
    {snapshot_key:UUID},
    {written_on:Date},
    row_number() OVER (ORDER BY best_score DESC, overlap DESC, hashed_email ASC) AS place,
    {data_date:Date},
    hem_hash,
    best_score,
    overlap,
    arrayMap(
        topic -> (topic, called[topic].1, called[topic].2, called[topic].3, called[topic].4),
        arrayDistinct(arraySort(matches).2)
    ),
    $person_columns
FROM results
QUALIFY place <= {row_limit:UInt64}
