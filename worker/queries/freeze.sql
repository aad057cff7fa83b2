-- Freeze what was picked, each audience under a snapshot key of its own: rank narrow rows first, then hydrate them. Few
-- people are frozen by freeze_few.sql instead.
INSERT INTO audience_results
    (snapshot_key, written_on, rank, data_date, hem_hash, score, topic_overlap, matched_topics, $person_columns)
WITH
    picked AS
    (
        SELECT number, person.1 AS hem_hash, person.2 AS best_score, person.3 AS overlap, person.4 AS matches
        FROM selections
        ARRAY JOIN people AS person
        WHERE written_on = {written_on:Date} AND batch = {batch:UUID}
    ),
    ranked AS
    (
        SELECT
            number,
            hem_hash,
            best_score,
            overlap,
            matches,
            row_number() OVER (
                PARTITION BY number ORDER BY best_score DESC, overlap DESC, hashed_email ASC
            ) AS place
        FROM (SELECT hem_hash, hashed_email FROM people WHERE hem_hash IN (SELECT hem_hash FROM picked)) AS addresses
        INNER JOIN picked USING (hem_hash)
        QUALIFY place <= {row_limit:UInt64}
    ),
    (
        SELECT mapFromArrays(groupArray(topic_id), groupArray((name, type, industry, category)))
        FROM topics
        WHERE topic_id IN {topic_ids:Array(UInt32)}
    ) AS called
SELECT
    {snapshot_keys:Array(UUID)}[number],
    {written_on:Date},
    place,
    {data_date:Date},
    hem_hash,
    best_score,
    overlap,
    arrayMap(
        topic -> (topic, called[topic].1, called[topic].2, called[topic].3, called[topic].4),
        arrayDistinct(arraySort(matches).2)
    ),
    $person_columns
FROM people
GLOBAL INNER JOIN ranked USING (hem_hash)
WHERE hem_hash IN (SELECT hem_hash FROM picked)
