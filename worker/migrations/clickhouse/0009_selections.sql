-- Whom a batch has picked, before they are frozen: a row an audience, under its number in the batch.
CREATE TABLE IF NOT EXISTS selections$of_shard$on_cluster
(
    batch      UUID,
    written_on Date,
    number     UInt16,
    candidates UInt64,
    results    UInt64,
    people     Array(Tuple(UInt64, UInt8, UInt16, Array(Tuple(Int16, UInt32))))
        COMMENT 'hem_hash, score, topic overlap, and each matching topic behind its negated score'
)
ENGINE = $merge_tree
PARTITION BY written_on
ORDER BY (batch, number)
TTL written_on + INTERVAL 2 DAY
SETTINGS ttl_only_drop_parts = 1;
