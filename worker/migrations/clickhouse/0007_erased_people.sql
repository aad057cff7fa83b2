-- People whom no run may find again.
CREATE TABLE IF NOT EXISTS erased_people$of_shard$on_cluster
(
    hem_hash  UInt64 COMMENT 'cityHash64(hashed_email)',
    erased_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = $merge_tree
ORDER BY hem_hash;
