piece IN {pieces:Array(UInt64)}
            AND topic_id IN {topic_ids_$number:Array(UInt32)}
            AND score BETWEEN {min_score_$number:UInt8} AND {max_score_$number:UInt8}
            AND hem_hash NOT IN (SELECT hem_hash FROM erased_people)
