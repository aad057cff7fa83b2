SELECT
        $number AS number,
        ($candidates) AS candidates,
        count() AS results,
        groupArray((hem_hash, best_score, overlap, matches)) AS people
    FROM
    (
        SELECT
            hem_hash,
            max(score) AS best_score,
            length(arrayDistinct(groupArray(topic_id))) AS overlap,
            groupArray((-score, topic_id)) AS matches
        FROM serving_index
        WHERE $matching
            AND bitTest(flags, 0)$filters
        GROUP BY hem_hash
        HAVING overlap >= {min_topic_overlap_$number:UInt16}
    )
