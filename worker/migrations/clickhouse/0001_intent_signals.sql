-- Who researched what, how intensely, day by day. Owners replace a day by REPLACE PARTITION.
CREATE TABLE IF NOT EXISTS intent_signals$of_shard$on_cluster
(
    data_date Date,
    topic_id  UInt32,
    hem_hash  UInt64 COMMENT 'cityHash64(hashed_email)',
    score     UInt8  COMMENT '0 to 99'
)
ENGINE = $merge_tree
PARTITION BY data_date
ORDER BY (topic_id, hem_hash);
