-- A changed retention reaches the table that already stands.
ALTER TABLE audience_results$of_shard$on_cluster MODIFY TTL written_on + toIntervalDay($retention_days);
