SELECT count()
            FROM
            (
                SELECT hem_hash
                FROM serving_index
                WHERE $matching
                GROUP BY hem_hash
                HAVING count() >= {min_topic_overlap_$number:UInt16}
                    AND length(arrayDistinct(groupArray(topic_id))) >= {min_topic_overlap_$number:UInt16}
            )
