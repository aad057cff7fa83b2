-- What a snapshot's people come to: one row of their number, averages, people by score, people with each field filled.
SELECT count(), avg(score), avg(topic_overlap), [$buckets], [$filled]
FROM audience_results
WHERE written_on = {written_on:Date} AND snapshot_key = {snapshot_key:UUID}
