-- A piece is read by all runs of its day, and each of its parts costs every one of them: it soon becomes one part.
ALTER TABLE serving_index$of_shard$on_cluster
    MODIFY SETTING min_age_to_force_merge_seconds = 10, min_age_to_force_merge_on_partition_only = 1;
