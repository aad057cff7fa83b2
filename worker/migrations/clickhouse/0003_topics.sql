-- What the topics are called. One row a topic.
CREATE TABLE IF NOT EXISTS topics$of_shard$on_cluster
(
    topic_id UInt32,
    name     Nullable(String),
    type     LowCardinality(Nullable(String)),
    industry LowCardinality(Nullable(String)),
    category LowCardinality(Nullable(String))
)
ENGINE = $merge_tree
ORDER BY topic_id;
