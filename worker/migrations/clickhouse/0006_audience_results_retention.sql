-- A changed retention reaches the table that already stands.
ALTER TABLE audience_results$on_cluster MODIFY TTL written_on + toIntervalDay($retention_days);
